"""face-organizer: a mountain of face pictures in, one folder per person out."""

__version__ = "0.1.0"
