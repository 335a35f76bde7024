"""Cameras: counts to photons, noise and saturation of pixels, photon transfer."""

from .camera import Camera

__all__ = ["Camera"]
