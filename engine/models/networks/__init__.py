"""The networks on images, one a file: its knobs and how it is built. Each imports torch only when it is built."""
