"""The pieces of the panel Sweep: planning, the figure, the table of its runs."""
