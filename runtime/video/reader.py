"""Video files read frame by frame: the pixels DeepLabCut sees, and every frame accounted for.

DeepLabCut reads with OpenCV and turns BGR into RGB. FFmpeg decodes and converts for both, so frames
are equal to the last bit where the same conversion is asked for (see :mod:`.color`).
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dlc_deploy.errors import VideoError

from .color import RgbConverter

_DISK_FAULTS = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ETIMEDOUT)

# FFmpeg's own messages name no file and no remedy; the errors below do.
av.logging.set_level(None)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video's header says.

    Attributes:
        width, height: of the frames as they are shown, after rotation.
        frames: how many the header promises, or None where it does not say.
        fps: average frames per second.
        rotation: degrees counter-clockwise by which the stored frames are turned to be shown.
    """

    path: Path
    width: int
    height: int
    frames: int | None
    fps: float
    codec: str
    pixel_format: str
    duration_seconds: float | None
    rotation: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        index: its number in the container, in presentation order, from 0.
        pts_seconds: its presentation time, where the container has one.
        rgb: uint8 [H, W, 3], or None if it could not be decoded.
        problem: why not.
    """

    index: int
    pts_seconds: float | None
    rgb: NDArray[np.uint8] | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """A frame that the decoder did not give, with its presentation time."""

    pts: int | None


class VideoReader:
    """Frames ``start`` to ``stop`` of a video; a context manager to iterate once.

    Frames before ``start`` are decoded and dropped: seeking is not exact in every container. A
    frame that cannot be decoded comes without pixels, and reading goes on.

    Args:
        path: a video file.
        start: first frame to give.
        stop: frame to stop before; the end when None.
        threads: of the decoder; FFmpeg's choice when None.

    Attributes:
        info: what the header says.
        start, stop: the range.

    Raises:
        VideoError: not a video, or (while iterating) without a frame in the range.
    """

    def __init__(
        self, path: Path, *, start: int = 0, stop: int | None = None, threads: int | None = None
    ) -> None:
        if stop is not None and stop <= start:
            raise VideoError(f"{path}: expected a range of frames A:B, A < B, got {start}:{stop}.")
        self._container = _open(path)
        self._stream = _video_stream(self._container, path)
        self._stream.thread_type = "AUTO"
        if threads is not None:
            self._stream.codec_context.thread_count = threads
        self.info = _info(path, self._stream)
        self.start, self.stop = start, stop
        self._convert = RgbConverter()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        index = decoded = 0
        for item in self._decoded():
            if self.stop is not None and index >= self.stop:
                break
            if index >= self.start:
                frame = self._frame(index, item)
                decoded += frame.rgb is not None
                yield frame
            index += 1
        if index <= self.start and self.start:
            raise VideoError(
                f"{self.info.path}: expected frames from {self.start} on, but the video has "
                f"{index}. Choose another range with --frames."
            )
        if not decoded:
            raise VideoError(
                f"{self.info.path}: expected a video with frames, none could be decoded. "
                "Play it in a video player, or encode it again."
            )

    def _decoded(self) -> Iterator[VideoFrame | Lost]:
        """Frames in presentation order; a :class:`Lost` in the place of each that did not come.

        A decoder with threads, or with frames to reorder, reports a damaged packet when it is at
        another one, and may drop others with it without a word. So presentation times tell what is
        lost: those of packets that a later frame has overtaken. Without any fault a packet without
        a frame is none (hidden reference frames, leading frames of a cut recording).
        """
        waiting: list[int] = []
        faulty = False
        for packet in self._packets():
            if packet is not None and packet.pts is not None and not packet.is_discard:
                heapq.heappush(waiting, packet.pts)
            try:
                frames = self._stream.decode(packet)
            except av.error.FFmpegError:
                faulty = True
                if packet is not None and packet.pts is None:
                    yield Lost(None)
                continue
            for frame in frames:
                overtaken = _overtaken(waiting, frame.pts)
                yield from overtaken if faulty else ()
                yield frame
        if waiting:
            yield from self._tail(waiting, faulty)

    def _packets(self) -> Iterator[Packet[VideoStream] | None]:
        """Packets with content, then None; a truncated file ends with what there is.

        Raises:
            VideoError: the disk, or the network behind it, fails.
        """
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    yield packet
        except av.error.FFmpegError as error:
            if error.errno in _DISK_FAULTS:
                raise VideoError(
                    f"{self.info.path}: the file cannot be read to its end ({error.strerror}). "
                    "Check the disk or the network, or copy the video again."
                ) from error
        yield None

    def _tail(self, waiting: list[int], faulty: bool) -> Iterator[VideoFrame | Lost]:
        """What a decoder with threads held back when a packet near the end was damaged: it gives
        nothing more after the first fault of its flush, so the tail is decoded again without."""
        wanted = set(waiting)
        found: dict[int | None, VideoFrame] = {}
        with _open(self.info.path) as container:
            stream = _video_stream(container, self.info.path)
            stream.codec_context.thread_count = 1
            try:
                container.seek(min(waiting), stream=stream)
                for packet in container.demux(stream):
                    try:
                        found |= {f.pts: f for f in packet.decode() if f.pts in wanted}
                    except av.error.FFmpegError:
                        faulty = faulty or packet.pts in wanted
            except av.error.FFmpegError:
                pass
        for pts in sorted(waiting):
            if pts in found:
                yield found[pts]
            elif faulty:
                yield Lost(pts)

    def _frame(self, index: int, item: VideoFrame | Lost) -> Frame:
        seconds = None if item.pts is None else float(item.pts * (self._stream.time_base or 0))
        if isinstance(item, Lost):
            return Frame(index, seconds, None, "the packet cannot be decoded")
        rgb = self._convert(item)
        turns = _rotation(item) // 90
        return Frame(index, seconds, np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb)


def _overtaken(waiting: list[int], pts: int | None) -> list[Lost]:
    """Take from the heap of ``waiting`` times the one of a frame, and those before it."""
    lost = []
    while pts is not None and waiting and waiting[0] < pts:
        lost.append(Lost(heapq.heappop(waiting)))
    if waiting and waiting[0] == pts:
        heapq.heappop(waiting)
    return lost


def probe(path: Path) -> VideoInfo:
    """What the header says.

    Raises:
        VideoError: not a video.
    """
    with VideoReader(path) as reader:
        return reader.info


def _open(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except FileNotFoundError:
        raise VideoError(f"{path}: expected a video, found no such file.") from None
    except IsADirectoryError:
        raise VideoError(f"{path}: expected a video file, got a folder.") from None
    except (av.error.FFmpegError, OSError) as error:
        if path.is_dir():
            raise VideoError(f"{path}: expected a video file, got a folder.") from None
        reason = "an empty file" if path.stat().st_size == 0 else (error.strerror or str(error))
        raise VideoError(
            f"{path}: expected a video, but FFmpeg cannot read it ({reason}). "
            "Check that it plays, or copy it again."
        ) from None


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first one, as OpenCV takes it; the picture on the cover of a song is none."""
    for stream in container.streams.video:
        if Disposition.attached_pic not in stream.disposition:
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
    if container.streams.video:
        kinds = kinds.replace("video", "a cover picture")
    container.close()
    raise VideoError(f"{path}: expected a video, but its only streams are: {kinds}.")


def _info(path: Path, stream: VideoStream) -> VideoInfo:
    rotation = _first_rotation(path)
    width, height = stream.codec_context.width, stream.codec_context.height
    if rotation % 180:
        width, height = height, width
    seconds = None
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    rate = stream.average_rate or stream.guessed_rate
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        frames=stream.frames or None,
        fps=float(rate) if rate else 0.0,
        codec=stream.codec_context.name,
        pixel_format=stream.codec_context.pix_fmt or "unknown",
        duration_seconds=seconds,
        rotation=rotation,
    )


def _first_rotation(path: Path) -> int:
    """The display matrix comes with decoded frames only, so the first one is decoded for it."""
    with _open(path) as container:
        stream = _video_stream(container, path)
        try:
            for packet in container.demux(stream):
                try:
                    for frame in packet.decode():
                        return _rotation(frame)
                except av.error.FFmpegError:
                    continue  # a damaged packet; the next one may give a frame
        except av.error.FFmpegError:
            pass
    return 0


def _rotation(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) * 90 % 360
