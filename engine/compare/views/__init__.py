"""The comparisons, one a file, each under the name of the view that it compares."""
