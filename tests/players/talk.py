"""A viewer on GStreamer that talks: talk.py URL udp|tcp FILE SECONDS

It watches the pictures, and sends a tone down the track that the server takes sound on (ONVIF backchannel). FILE gets
the payloads of what it has sent, back to back.
"""

import ctypes
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

GSTREAMER = ctypes.CDLL("libgstreamer-1.0.so.0")

# Of a G.711 packet's RTP header.
HEADER_BYTES = 12


class Talker:
    def __init__(self, url, over, file):
        self.viewer = Gst.parse_launch(
            f"rtspsrc name=source backchannel=onvif protocols={over} location={url} "
            "source. ! application/x-rtp,media=video ! fakesink name=screen async=false signal-handoffs=true"
        )
        self.tone = Gst.parse_launch(
            "audiotestsrc is-live=true freq=700 ! audio/x-raw,rate=8000,channels=1 ! mulawenc "
            "! rtppcmupay max-ptime=20000000 min-ptime=20000000 ! appsink name=out emit-signals=true"
        )
        self.source = self.viewer.get_by_name("source")
        self.source.connect("select-stream", self.on_stream)
        self.viewer.get_by_name("screen").connect("handoff", self.on_picture)
        self.tone.get_by_name("out").connect("new-sample", self.on_sound)
        self.file = open(file, "wb", buffering=0)
        self.loop = GLib.MainLoop()
        self.back = None
        self.pictures = 0
        self.error = None
        bus = self.viewer.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)

    def on_stream(self, _, number, caps):
        if caps.get_structure(0).has_field("a-sendonly"):
            self.back = number
        return True

    def on_picture(self, *_):
        self.pictures += 1
        if self.pictures == 1:
            GLib.idle_add(lambda: self.tone.set_state(Gst.State.PLAYING) and False)

    def on_sound(self, sink):
        sample = sink.emit("pull-sample")
        buffer = sample.get_buffer()
        self.file.write(buffer.extract_dup(HEADER_BYTES, buffer.get_size() - HEADER_BYTES))
        # The signal takes the reference that Python believes to be its own.
        GSTREAMER.gst_mini_object_ref(ctypes.c_void_p(hash(sample)))
        self.source.emit("push-backchannel-sample", self.back, sample)
        return Gst.FlowReturn.OK

    def on_error(self, _, message):
        self.error = message.parse_error()
        self.loop.quit()


def main():
    Gst.init(None)
    url, over, file, seconds = sys.argv[1:]
    talker = Talker(url, over, file)
    talker.viewer.set_state(Gst.State.PLAYING)
    GLib.timeout_add(int(1000 * float(seconds)), talker.loop.quit)
    talker.loop.run()
    talker.tone.set_state(Gst.State.NULL)
    talker.viewer.set_state(Gst.State.NULL)
    if talker.error or talker.back is None or not talker.pictures:
        sys.exit(f"{talker.error}, backchannel {talker.back}, {talker.pictures} pictures")


main()
