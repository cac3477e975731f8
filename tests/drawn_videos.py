"""Small videos made up for the tests, and ways to damage them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition


def images(count: int, width: int, height: int) -> list[np.ndarray]:
    """Frames uint8 [H, W, 3] RGB: a gradient that moves, noise in it, and a bright square."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    frames = []
    for number in range(count):
        planes = [x * 5 + number * 7, y * 4 + number * 3, (x + y) * 2 + number * 5]
        frame = (np.stack(planes, axis=-1) % 256).astype(np.uint8)
        frame[: height // 2] = rng.integers(0, 256, (height // 2, width, 3))
        left = number * 3 % max(1, width - 8)
        frame[height // 2 : height // 2 + 6, left : left + 8] = 250
        frames.append(frame)
    return frames


def write_video(
    path: Path,
    count: int = 12,
    *,
    width: int = 64,
    height: int = 48,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    pts: list[int] | None = None,
    audio: bool = False,
    rotation: int = 0,
    still: bool = False,
    **options: str,
) -> Path:
    """Encode :func:`images` at 25 frames a second, or at ``pts`` in thousandths of a second.

    With ``still``, every frame is the first.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if rotation:
            stream.set_display_rotation(rotation)
        sound = container.add_stream("aac", rate=48000) if audio else None
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        drawn = images(count, width, height)
        for number, image in enumerate(drawn[:1] * count if still else drawn):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, 25) if pts is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
            if sound is not None:
                container.mux(sound.encode(_silence(number)))
        container.mux(stream.encode(None))
        if sound is not None:
            container.mux(sound.encode(None))
    return path


def write_tracks(path: Path, sizes: list[tuple[int, int]]) -> Path:
    """A file with several video tracks of 5 frames, each of its own size."""
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in sizes:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append((stream, images(5, width, height)))
        for number in range(5):
            for stream, drawn in streams:
                frame = av.VideoFrame.from_ndarray(drawn[number], format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
        for stream, _ in streams:
            container.mux(stream.encode(None))
    return path


def set_rotation(path: Path, degrees: int) -> None:
    """Write a display matrix into the track header of an MP4: counter-clockwise, as it is shown."""
    content = path.read_bytes()
    one, none = 1 << 16, 0
    turned = {90: (none, -one, one, none), 180: (-one, none, none, -one), 270: (none, one, -one, 0)}
    a, b, c, d = turned[degrees]
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    # behind the word: version and flags, times, track, duration, layer, volume
    start = content.index(b"tkhd") + 4 + 40
    path.write_bytes(content[:start] + matrix + content[start + len(matrix) :])


def write_sound(path: Path, *, cover: bool = False) -> Path:
    """A file with an audio stream only, or with the picture of a cover too."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        if cover:
            picture = container.add_stream("mjpeg", rate=25)
            picture.width, picture.height, picture.pix_fmt = 96, 80, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(images(1, 96, 80)[0], format="rgb24")
            container.mux(picture.encode(frame.reformat(format="yuvj420p")))
            container.mux(picture.encode(None))
        for number in range(5):
            container.mux(stream.encode(_silence(number)))
        container.mux(stream.encode(None))
    return path


def packets(path: Path) -> list[tuple[int, int]]:
    """(position, size) of each video packet in the file, in decoding order."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(packet.pos, packet.size) for packet in container.demux(stream) if packet.size]


def overwrite_packet(path: Path, number: int, content: bytes = b"\xff") -> None:
    """Fill one packet, counted in decoding order, with other bytes."""
    position, size = packets(path)[number]
    with path.open("r+b") as file:
        file.seek(position)
        file.write((content * size)[:size])


def cut_at_key(path: Path, cut: Path, number: int) -> Path:
    """A copy that begins with the given key packet, without decoding anything."""
    with av.open(str(path)) as source, av.open(str(cut), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        kept = [packet for packet in source.demux(stream) if packet.size]
        keys = [index for index, packet in enumerate(kept) if packet.is_keyframe]
        for packet in kept[keys[number] :]:
            packet.stream = copy
            target.mux(packet)
    return cut


def opencv_frames(path: Path) -> list[np.ndarray]:
    """The frames DeepLabCut sees: OpenCV's, as RGB."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        read, bgr = capture.read()
        if not read:
            capture.release()
            return frames
        frames.append(bgr[..., ::-1])


def _silence(number: int) -> av.AudioFrame:
    samples = np.zeros((1, 1920), np.float32)
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, number * 1920, Fraction(1, 48000)
    return frame
