"""A face worker as a process of its own, with squares for faces: `python tests/face_process.py`."""

import time

from squares import Squares

from deploy.faces import run_faces
from deploy.logs import configure_logs
from deploy.settings import load_settings
from face_worker.faces import Face, Picture
from face_worker.models import MODELS


class Slow(Squares):
    """A picture takes its time, so that what happens to the process happens in the middle of it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def faces(self, picture: Picture) -> list[Face]:
        time.sleep(self._seconds)
        return super().faces(picture)


def run(seconds: float = 0.0) -> None:
    """Work until SIGTERM; a picture takes at least so many seconds."""
    settings = load_settings()
    configure_logs(settings.log_level, "json")
    run_faces(settings, Slow(seconds), MODELS["dlib"])


if __name__ == "__main__":
    run()
