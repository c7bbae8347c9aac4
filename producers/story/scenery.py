"""The words of the simulator: occasions, people's names, sponsors, channels. No logic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from schemas.fields import MISS_REASONS, Channel


@dataclass(frozen=True)
class Occasion:
    """An event that has a gallery. `opens` and `closes` are hours of the local day."""

    name: str
    slug: str
    organizer: str
    zone: str
    opens: int
    closes: int
    currency: str


OCCASIONS: Final = (
    Occasion("Spree Tech Summit", "spree-tech-summit", "Lumen Events", "Europe/Berlin", 9, 19, "EUR"),
    Occasion(
        "Hudson Charity Run", "hudson-charity-run", "Greenway Foundation", "America/New_York", 8, 18, "USD"
    ),
    Occasion("Monsoon Design Week", "monsoon-design-week", "Studio Kaveri", "Asia/Kolkata", 10, 20, "INR"),
    Occasion("Fjord Trail Marathon", "fjord-trail-marathon", "Nordlys Sport", "Europe/Oslo", 8, 17, "NOK"),
    Occasion("Harbour Jazz Nights", "harbour-jazz-nights", "Blue Quay", "Australia/Sydney", 14, 22, "AUD"),
    Occasion("Kanda Robotics Open", "kanda-robotics-open", "Kanda Labs", "Asia/Tokyo", 9, 18, "JPY"),
    Occasion("Feira de Startups", "feira-de-startups", "Ponto Alto", "America/Sao_Paulo", 9, 20, "BRL"),
    Occasion(
        "Table Bay Food Festival",
        "table-bay-food-festival",
        "Cape Table",
        "Africa/Johannesburg",
        11,
        21,
        "ZAR",
    ),
)

_FIRST_NAMES = (
    "Aisha Amara Ana Anders Anika Arjun Ayumi Ben Bianca Camille Carlos Chiara Chloe Daniel Deepa Diego "
    "Elena Elif Emeka Emma Farid Fatima Felix Freya Giulia Hana Hassan Hugo Ines Ivan Jamal Jana Jonas "
    "Julia Kavya Kenji Lara Leila Lena Liam Linh Lucas Lucia Maja Malik Marta Mateo Mei Mia Milan Nadia "
    "Naomi Nils Noah Nora Olga Omar Oscar Paula Pedro Priya Rafael Rania Ravi Rosa Samir Sara Sofia Sven "
    "Tara Theo Tomas Valentina Viktor Wanjiru Yara Yuki Yusuf Zainab Zoe"
)
_LAST_NAMES = (
    "Abebe Adeyemi Ali Andersen Bauer Becker Bianchi Bose Brandt Carvalho Castro Chen Costa Cruz Das Diaz "
    "Dubois Eriksen Fischer Fontaine Garcia Gupta Haddad Hansen Hoffmann Ibrahim Ito Iyer Jansen Kaya "
    "Keller Khan Kim Kowalski Krause Kumar Lang Larsen Le Lehmann Lindqvist Lopez Mehta Mendes Meyer "
    "Moreau Mwangi Nakamura Ndlovu Nguyen Novak Okafor Oliveira Otieno Park Patel Pereira Petrov Ramos "
    "Rao Reyes Ricci Rossi Sato Schmidt Schneider Shah Silva Singh Smith Sousa Suzuki Tanaka Torres Tran "
    "Vargas Weber Wolf Yilmaz Zhang"
)
FIRST_NAMES: Final = tuple(_FIRST_NAMES.split())
LAST_NAMES: Final = tuple(_LAST_NAMES.split())

SPONSORS: Final = (
    ("sp-northwind-coffee", "Northwind Coffee", 4800),
    ("sp-altair-bank", "Altair Bank", 9500),
    ("sp-velo-bikes", "Velo Bikes", 3200),
    ("sp-lumina-phones", "Lumina Phones", 7400),
    ("sp-casa-verde", "Casa Verde", 2600),
    ("sp-orbit-mobile", "Orbit Mobile", 6100),
)
"""Sponsor id, name and usual fee. A sponsor of several galleries keeps its id."""

PLACEMENTS: Final = (("banner-top", 0.82), ("photo-feed", 0.92), ("download-page", 0.95), ("footer", 0.62))
"""Where ads stand, and the share of their impressions that shows half of the ad or more."""

NETWORKS: Final = ("instagram", "whatsapp", "facebook", "linkedin", "x", "tiktok")
NETWORK_WEIGHTS: Final = tuple(accumulate((38, 27, 14, 12, 5, 4)))

ARRIVALS: Final[tuple[tuple[Channel, str, str], ...]] = (
    ("direct", "", ""),
    ("whatsapp", "", "friends"),
    ("website", "https://www.{slug}.example/photos", ""),
    ("social", "https://www.instagram.com/", "instagram"),
    ("social", "https://www.facebook.com/", "facebook"),
    ("social", "https://www.linkedin.com/", "linkedin"),
    ("email", "", "ticket"),
    ("other", "https://search.example/", ""),
)
"""Channel, referrer and utm_source of a visit that no campaign caused."""
ARRIVAL_WEIGHTS: Final = tuple(accumulate((30, 19, 20, 10, 5, 4, 7, 5)))

POOR_SELFIES: Final = MISS_REASONS[:4]
"""The reasons of a miss that another selfie can mend."""
POOR_SELFIE_WEIGHTS: Final = tuple(accumulate((22, 16, 42, 20)))

UPLOAD_FAILURES: Final = ("network", "timeout", "too_large", "unsupported_format")
FACE_FAILURES: Final = ("unreadable", "too_large")
MODEL: Final = "mtcnn+dlib-resnet/1"
