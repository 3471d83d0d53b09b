"""The world of networks on images."""
