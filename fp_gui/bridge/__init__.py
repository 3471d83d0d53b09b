"""The training thread and the two ways to and from it: commands up, snapshots down."""
