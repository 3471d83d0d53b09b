"""Files that come with the explorer: presets, icons, texts."""
