"""A face worker as a process of its own, with squares for faces: `python tests/face_process.py`."""

from squares import Squares

from deploy.faces import run_faces
from deploy.logs import configure_logs
from deploy.settings import load_settings
from face_worker.models import MODELS

if __name__ == "__main__":
    settings = load_settings()
    configure_logs(settings.log_level, "json")
    run_faces(settings, Squares(), MODELS["dlib"])
