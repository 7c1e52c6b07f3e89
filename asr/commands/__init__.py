"""What a voice assistant adds: sentence templates, and what is made of them."""
