"""`python -m face_organizer`: the same as `face-organizer`."""

from face_organizer.cli import main

if __name__ == "__main__":
    main()
