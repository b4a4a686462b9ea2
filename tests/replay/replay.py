"""GStreamer as a client of ONVIF: replays a range of a recording and writes down what it is given.

    replay.py URL udp|tcp FOLDER RATE FROM TO [FRAMES]

FROM and TO are seconds since 1900, FROM the earlier; FRAMES is `intra`, `intra/MILLISECONDS` or `predicted`.
FOLDER/events has a line for each access unit that rtponvifparse lets pass: when it was recorded, in seconds since 1900,
then `discont` and `key` where it is that. FOLDER/times has a line with that time for each picture that leaves the
depayloader, FOLDER/pictures has them.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
from gi.repository import GLib, Gst, GstRtsp  # noqa: E402

PATIENCE_S = 20


class Player:
    # GStreamer 1.22.0 dereferences nothing at a seek with is-live=false. In the other buffer modes it loses the first
    # picture over TCP, whose first packet it gives no time.
    def __init__(self, url, over, folder):
        self.pipeline = Gst.parse_launch(
            "rtspsrc name=source onvif-mode=true onvif-rate-control=false buffer-mode=none tcp-timeout=0 "
            f"udp-buffer-size=4000000 protocols={over} location={url} "
            "source. ! application/x-rtp,media=video ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 "
            "! rtponvifparse name=parse ! rtph264depay name=depay "
            "! video/x-h264,stream-format=byte-stream,alignment=au "
            f"! filesink sync=false async=false location={folder}/pictures"
        )
        self.source = self.pipeline.get_by_name("source")
        self.source.connect("select-stream", lambda _, __, caps: "media=(string)video" in caps.to_string())
        self.source.connect("before-send", self.on_request)
        self.events = open(f"{folder}/events", "w", buffering=1)
        self.times = open(f"{folder}/times", "w", buffering=1)
        self.loop = GLib.MainLoop()
        self.has_ended = False
        self.last = None
        for name, call in (("parse", self.on_packet), ("depay", self.on_picture)):
            pad = self.pipeline.get_by_name(name).get_static_pad("src")
            pad.add_probe(Gst.PadProbeType.BUFFER, call)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.on_message)

    def on_request(self, _, request):
        # It never says so itself; without it a description tells no times of day.
        request.add_header(GstRtsp.RTSPHeaderField.REQUIRE, "onvif-replay")
        return True

    def on_packet(self, _, info):
        buffer = info.get_buffer()
        size = buffer.get_size()
        # All packets of a picture have the extension, and so its time of day.
        if buffer.extract_dup(0, min(size, 14))[12:14] != b"\xab\xac" or buffer.pts == self.last:
            return Gst.PadProbeReturn.OK
        self.last = buffer.pts
        words = [f"{buffer.pts / Gst.SECOND:.6f}"]
        if buffer.has_flags(Gst.BufferFlags.DISCONT):
            words.append("discont")
        if not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT):
            words.append("key")
        self.events.write(" ".join(words) + "\n")
        return Gst.PadProbeReturn.OK

    def on_picture(self, _, info):
        self.times.write(f"{info.get_buffer().pts / Gst.SECOND:.6f}\n")
        return Gst.PadProbeReturn.OK

    def on_message(self, _, message):
        if message.type == Gst.MessageType.EOS:
            self.has_ended = True
            self.loop.quit()
        elif message.type == Gst.MessageType.ERROR:
            print(message.parse_error(), file=sys.stderr)
            self.loop.quit()

    def run(self, rate, start, stop, frames):
        flags = Gst.SeekFlags.FLUSH | Gst.SeekFlags.ACCURATE
        mode, _, interval = frames.partition("/")
        if mode == "intra":
            flags |= Gst.SeekFlags.TRICKMODE_KEY_UNITS
        elif mode == "predicted":
            flags |= Gst.SeekFlags.TRICKMODE_FORWARD_PREDICTED
        of = lambda seconds: int(round(seconds * Gst.SECOND))  # noqa: E731
        seek = Gst.Event.new_seek(
            rate, Gst.Format.TIME, flags, Gst.SeekType.SET, of(start), Gst.SeekType.SET, of(stop)
        )
        if interval:
            seek.set_seek_trickmode_interval(int(interval) * Gst.MSECOND)
        self.pipeline.set_state(Gst.State.READY)
        self.source.send_event(seek)
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add_seconds(PATIENCE_S, self.loop.quit)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)


def main():
    Gst.init(None)
    url, over, folder, rate, start, stop = sys.argv[1:7]
    player = Player(url, over, folder)
    player.run(float(rate), float(start), float(stop), (sys.argv[7:] or [""])[0])
    if not player.has_ended:
        sys.exit("the stream has not ended")


main()
