"""One new file each: an attack, an objective, a data set, a network. Importing it is all that there is to do."""
