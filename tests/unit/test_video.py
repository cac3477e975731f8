from __future__ import annotations

import errno

import av
import numpy as np
import pytest

from dlc_deploy.errors import VideoError
from dlc_deploy.runtime.video.reader import VideoReader, probe
from tests.drawn_videos import (
    cut_at_key,
    opencv_frames,
    overwrite_packet,
    packets,
    set_rotation,
    write_sound,
    write_tracks,
    write_video,
)

LIKE_OPENCV = {
    "yuv420p": ("v.mp4", dict(pixels="yuv420p")),
    "yuv444p": ("v.mp4", dict(pixels="yuv444p")),
    "full range": ("v.avi", dict(codec="mjpeg", pixels="yuvj420p")),
    "gray": ("v.mkv", dict(codec="ffv1", pixels="gray")),
    "10 bits": ("v.mkv", dict(codec="ffv1", pixels="yuv422p10le")),
    "bgr": ("v.avi", dict(codec="rawvideo", pixels="bgr24")),
    "rgb": ("v.mkv", dict(codec="ffv1", pixels="bgr0")),
    "odd size": ("v.mkv", dict(codec="ffv1", width=63, height=47)),
    "odd size, full range": ("v.avi", dict(codec="mjpeg", pixels="yuvj420p", width=63, height=47)),
    "B-frames": ("v.mp4", dict(bf="3")),
    "B-frames in AVI": ("v.avi", dict(codec="mpeg4", bf="2")),
    "audio": ("v.mp4", dict(audio=True, bf="2")),
    "transport stream": ("v.ts", dict(bf="2")),
}
PTS = [0, 40, 70, 130, 131, 200, 320, 321, 330, 500, 510, 640]


def read(path, **options):
    with VideoReader(path, **options) as reader:
        return list(reader)


def lost(frames):
    return [frame.index for frame in frames if frame.rgb is None]


@pytest.mark.parametrize("name", LIKE_OPENCV)
def test_frames_are_those_of_opencv_to_the_last_bit(tmp_path, name):
    file, options = LIKE_OPENCV[name]
    path = write_video(tmp_path / file, 12, **options)
    expected, frames = opencv_frames(path), read(path)
    assert len(expected) == len(frames) == 12
    for number, (frame, rgb) in enumerate(zip(frames, expected, strict=True)):
        assert frame.index == number and frame.problem is None
        np.testing.assert_array_equal(frame.rgb, rgb)
    times = [frame.pts_seconds for frame in frames]
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=2e-3)


def test_reading_changes_nothing_that_the_decoder_predicts_from(tmp_path):
    path = write_video(tmp_path / "v.flv", codec="flashsv", pixels="bgr24", still=True)
    frames = read(path)
    for frame, rgb in zip(frames, opencv_frames(path), strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)


def test_frames_at_uneven_times_keep_their_times(tmp_path):
    path = write_video(tmp_path / "v.mp4", pts=PTS, bf="2")
    frames = read(path)
    np.testing.assert_allclose([f.pts_seconds * 1000 for f in frames], PTS, atol=1)
    for frame, rgb in zip(frames, opencv_frames(path), strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV writes no rotation"
)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_video_is_turned_as_opencv_turns_it(tmp_path, degrees):
    path = write_video(tmp_path / "v.mp4", 3, rotation=degrees)
    frames, info = read(path), probe(path)
    assert info.rotation == degrees
    assert frames[0].rgb.shape == (info.height, info.width, 3)
    for frame, rgb in zip(frames, opencv_frames(path), strict=True):
        assert frame.rgb.flags.c_contiguous
        np.testing.assert_array_equal(frame.rgb, rgb)


def test_a_damaged_first_packet_does_not_leave_the_others_unturned(tmp_path):
    path = write_video(tmp_path / "v.mp4", 6, g="1", bf="0")
    set_rotation(path, 90)
    whole = read(path)
    overwrite_packet(path, 0)
    frames = read(path)
    assert lost(frames) == [0] and probe(path).rotation == 90
    for frame, intact in zip(frames[1:], whole[1:], strict=True):
        assert frame.rgb.shape == (64, 48, 3)
        np.testing.assert_array_equal(frame.rgb, intact.rgb)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_the_matrix_of_the_header_turns_frames_as_opencv_turns_them(tmp_path, degrees):
    path = write_video(tmp_path / "v.mp4", 3)
    set_rotation(path, degrees)
    frames, expected = read(path), opencv_frames(path)
    assert probe(path).rotation == degrees and len(expected) == 3
    for frame, rgb in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)


@pytest.mark.parametrize(("start", "stop"), [(0, 5), (3, None), (3, 7), (7, 99), (11, 12)])
def test_a_range_gives_its_frames_under_their_own_numbers(tmp_path, start, stop):
    path = write_video(tmp_path / "v.mp4", bf="2")
    whole, part = read(path), read(path, start=start, stop=stop)
    assert [f.index for f in part] == list(range(12))[start:stop]
    for frame in part:
        np.testing.assert_array_equal(frame.rgb, whole[frame.index].rgb)
        assert frame.pts_seconds == whole[frame.index].pts_seconds


@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_that_refer_to_what_was_cut_off_are_no_frames(tmp_path, threads):
    options = {"x265-params": "log-level=none:open-gop=1:keyint=8:min-keyint=8:scenecut=0"}
    path = write_video(tmp_path / "v.mp4", 32, codec="libx265", bf="3", **options)
    cut = cut_at_key(path, tmp_path / "cut.ts", 1)
    frames, expected = read(cut, threads=threads), opencv_frames(cut)
    assert len(packets(cut)) > len(frames) == len(expected)
    assert lost(frames) == []
    for frame, rgb in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("v.mp4", dict(g="4", bf="0")),
        ("v.mp4", dict(g="8", bf="2")),
        ("v.mp4", dict(codec="mpeg4")),
        ("v.avi", dict(codec="mjpeg", pixels="yuvj420p")),
    ],
    ids=["h264", "h264 with B-frames", "mpeg4", "mjpeg"],
)
@pytest.mark.parametrize("damaged", [0, 5, 7, 22, 23])
def test_a_damaged_packet_costs_frames_but_shifts_none(tmp_path, file, options, damaged, threads):
    path = write_video(tmp_path / file, 24, **options)
    intact = read(path, threads=threads)
    overwrite_packet(path, damaged)
    frames = read(path, threads=threads)
    assert [f.index for f in frames] == list(range(24))
    assert [f.pts_seconds for f in frames] == [f.pts_seconds for f in intact]
    assert 1 <= len(lost(frames)) <= 3
    assert {frames[n].problem for n in lost(frames)} == {"the packet cannot be decoded"}
    # what refers to a lost frame is concealed, up to the next picture that refers to none
    group = int(options.get("g", 1 if file == "v.avi" else 12))
    whole_again = (damaged // group + 2) * group
    for frame, whole in zip(frames, intact, strict=True):
        if frame.index < damaged - 2 or frame.index >= whole_again:
            np.testing.assert_array_equal(frame.rgb, whole.rgb)


def test_threads_do_not_change_what_is_lost(tmp_path):
    path = write_video(tmp_path / "v.mp4", 30, g="10", bf="2")
    for number in (4, 17, 28):
        overwrite_packet(path, number)
    one, many = read(path, threads=1), read(path, threads=8)
    assert lost(one) == lost(many) and len(one) == len(many) == 30
    for a, b in zip(one, many, strict=True):
        assert a.rgb is None or np.array_equal(a.rgb, b.rgb)


def test_a_truncated_video_ends_with_the_frames_there_are(tmp_path):
    path = write_video(tmp_path / "v.avi", 24, codec="mjpeg", pixels="yuvj420p")
    intact = read(path)
    position, size = packets(path)[15]
    with path.open("r+b") as file:
        file.truncate(position + size)
    frames = read(path, threads=4)
    assert probe(path).frames == 24 and len(frames) == 16
    for frame, whole in zip(frames, intact[:16], strict=True):
        np.testing.assert_array_equal(frame.rgb, whole.rgb)


def test_a_size_that_changes_on_the_way_changes_the_frames(tmp_path):
    small = write_video(tmp_path / "a.h264", 5, bf="0")
    large = write_video(tmp_path / "b.h264", 5, bf="0", width=96, height=80)
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    shapes = [frame.rgb.shape for frame in read(both)]
    assert shapes == [(48, 64, 3)] * 5 + [(80, 96, 3)] * 5


@pytest.mark.parametrize("sizes", [[(64, 48), (96, 80)], [(96, 80), (64, 48)]])
def test_of_several_tracks_the_first_is_read_as_opencv_reads_it(tmp_path, sizes):
    path = write_tracks(tmp_path / "v.mkv", sizes)
    frames = read(path)
    assert [frame.rgb.shape[1::-1] for frame in frames] == [sizes[0]] * 5
    for frame, rgb in zip(frames, opencv_frames(path), strict=True):
        np.testing.assert_array_equal(frame.rgb, rgb)


def test_the_cover_picture_of_a_song_is_no_video(tmp_path):
    with pytest.raises(VideoError, match="its only streams are: audio, a cover picture"):
        VideoReader(write_sound(tmp_path / "song.mp4", cover=True))


def test_a_disk_that_fails_is_no_end_of_the_video(tmp_path, monkeypatch):
    with VideoReader(write_video(tmp_path / "v.mp4")) as reader:
        real = reader._container

        class Failing:
            def demux(self, stream):
                for number, packet in enumerate(real.demux(stream)):
                    if number == 5:
                        raise av.error.OSError(errno.EIO, "Input/output error")
                    yield packet

            def close(self):
                real.close()

        monkeypatch.setattr(reader, "_container", Failing())
        with pytest.raises(VideoError, match=r"Input/output error.*Check the disk"):
            list(reader)


def test_the_header_is_told(tmp_path):
    info = probe(write_video(tmp_path / "v.mp4"))
    assert (info.width, info.height, info.frames, info.fps) == (64, 48, 12, 25.0)
    assert (info.codec, info.pixel_format, info.rotation) == ("h264", "yuv420p", 0)
    assert info.duration_seconds == pytest.approx(12 / 25)


def test_what_is_no_video_is_refused_with_the_reason(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video at all, only some words " * 50)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    cut = write_video(tmp_path / "cut.mp4")
    cut.write_bytes(cut.read_bytes()[:300])
    for path, words in {
        text: "FFmpeg cannot read it",
        empty: "an empty file",
        cut: "FFmpeg cannot read it",
        tmp_path: "got a folder",
        tmp_path / "absent.mp4": "found no such file",
        write_sound(tmp_path / "sound.m4a"): "its only streams are: audio",
    }.items():
        with pytest.raises(VideoError, match=words) as caught:
            VideoReader(path)
        assert str(caught.value).startswith(f"{path}: expected a video")


def test_a_video_whose_every_packet_is_damaged_is_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4", 3)
    for number in range(3):
        overwrite_packet(path, number)
    with pytest.raises(VideoError, match="none could be decoded"):
        read(path)


@pytest.mark.parametrize("start", [12, 50])
def test_a_range_behind_the_end_is_refused_with_the_number_of_frames(tmp_path, start):
    path = write_video(tmp_path / "v.mp4")
    with pytest.raises(VideoError, match=f"frames from {start} on, but the video has 12.*--frames"):
        read(path, start=start)


def test_a_range_that_runs_backwards_is_refused(tmp_path):
    with pytest.raises(VideoError, match="A < B, got 7:3"):
        VideoReader(write_video(tmp_path / "v.mp4"), start=7, stop=3)
