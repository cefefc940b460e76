"""Files, images, animations, devices and other helpers."""
