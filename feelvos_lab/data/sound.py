"""The sound of a video file, next to frames of it that are written to another file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feelvos_lab.errors import LabError

if TYPE_CHECKING:
    import av

_COPIED = frozenset(("aac", "ac3", "alac", "eac3", "libopus", "mp3", "mp3float", "opus"))  # that players find in an mp4

_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)  # of AAC, in Hz


class Sound:
    """The first audio track of a video file from a time on, copied where an mp4 can hold it, else encoded as AAC.

    Args:
        source: the video file.
        container: the mp4, open to write, without frames so far.
        begin: the time in the source, in seconds, that is 0 in the mp4.

    Raises:
        LabError: no decoder for a sound that must be encoded.
    """

    def __init__(self, source: Path, container: Any, *, begin: float) -> None:
        import av

        self._av, self._container, self._begin = av, container, begin
        self._input = av.open(str(source.absolute()), options={"protocol_whitelist": "file"})
        stream = next(iter(self._input.streams.audio), None)
        self._pieces: Iterator[tuple[float, Any]] = iter(())  # each with its time in the source
        self._next: tuple[float, Any] | None = None
        self._copied = True
        if stream is None:
            return
        codec = stream.codec_context
        if codec is None:
            raise LabError(f"{source} holds sound that no decoder knows: leave its own rate out, or its sound")
        self._copied = codec.name in _COPIED
        if self._copied:
            self._output = container.add_stream_from_template(stream)
            self._pieces = self._packets(stream)
        else:
            stream.thread_type = "NONE"  # as for frames, see `VideoFrames`
            layout = "mono" if codec.layout.nb_channels == 1 else "stereo"
            rate = min(_RATES, key=lambda rate: abs(rate - codec.sample_rate))
            self._output = container.add_stream("aac", rate=rate, layout=layout)
            self._pieces = self._frames(stream)
        self._next = next(self._pieces, None)

    def write_until(self, end: float) -> None:
        """Write what is heard before a time in the source, in seconds."""
        while self._next is not None and self._next[0] < end:
            piece = self._next[1]
            self._container.mux(piece if self._copied else self._output.encode(piece))
            self._next = next(self._pieces, None)

    def close(self, end: float) -> None:
        """Write what is heard before `end`, and what the encoder still holds."""
        self.write_until(end)
        if not self._copied:
            self._container.mux(self._output.encode(None))
        self._input.close()

    def _packets(self, stream: Any) -> Iterator[tuple[float, av.Packet]]:
        for packet in self._input.demux(stream):
            if packet.pts is None or packet.dts is None:  # the last, empty one
                continue
            time, offset = float(packet.pts * packet.time_base), round(self._begin / packet.time_base)
            if time < self._begin:
                continue
            packet.stream, packet.pts, packet.dts = self._output, packet.pts - offset, packet.dts - offset
            yield time, packet

    def _frames(self, stream: Any) -> Iterator[tuple[float, av.AudioFrame]]:
        for packet in self._input.demux(stream):
            try:
                frames = packet.decode()
            except self._av.FFmpegError:  # silence, as a player does; the video's own frames were all decoded before
                continue
            for frame in frames:
                if frame.pts is None or frame.time < self._begin:
                    continue
                time, frame.pts = frame.time, frame.pts - round(self._begin / frame.time_base)
                yield time, frame
