"""Embeddings are compared only by numbers that were measured for their model."""

from __future__ import annotations

import pytest

from face_worker.models import MODELS, numbers_of
from schemas.errors import SetupError


def test_each_version_has_its_own_numbers() -> None:
    assert [numbers_of(model.version) for model in MODELS.values()] == list(MODELS.values())


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(SetupError, match="of 'eigenfaces/1': add its model"):
        numbers_of("eigenfaces/1")
