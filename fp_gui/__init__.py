"""The desktop explorer: a Qt front end over the engine's training thread."""
