"""A player on GStreamer that does what its arguments say and writes down what it is given.

    play.py URL udp|tcp FOLDER STEP...

Steps: `pictures N` waits for N more pictures, `pause` and `play`, `seek SECONDS`, `scale RATE` and `speed RATE` go on
at that rate, by the server's choice of frames or by faster delivery, `end` waits for the end of the stream.

FOLDER/events has a line for each step as it is taken and for each picture that leaves the depayloader or is shown;
FOLDER/pictures has the bytes of those that leave it. Times are in seconds.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

PATIENCE_S = 15
# A pause is long enough for what is under way to come.
PAUSE_S = 0.7


class Player:
    def __init__(self, url, over, folder):
        self.pipeline = Gst.parse_launch(
            # Where sinks wait for pictures while paused, a seek in a pause waits for ever: rtspsrc sends it with PLAY.
            f"rtspsrc name=source latency=200 drop-on-latency=false udp-buffer-size=4000000 protocols={over} "
            f"location={url} "
            "source. ! application/x-rtp,media=video ! queue max-size-buffers=0 ! rtph264depay name=depay "
            "! video/x-h264,stream-format=byte-stream,alignment=au ! fakesink name=screen sync=true async=false "
            "signal-handoffs=true"
        )
        # rtspsrc 1.22 has a race of its own when two streams begin at once.
        source = self.pipeline.get_by_name("source")
        source.connect("select-stream", lambda _, __, caps: "media=(string)video" in caps.to_string())
        self.events = open(f"{folder}/events", "w", buffering=1)
        self.bytes = open(f"{folder}/pictures", "wb")
        self.loop = GLib.MainLoop()
        self.shown = 0
        self.has_ended = False
        self.segment = Gst.Segment()
        pad = self.pipeline.get_by_name("depay").get_static_pad("src")
        pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM, self.on_data)
        self.pipeline.get_by_name("screen").connect("handoff", self.on_shown)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.on_message)

    def on_data(self, _, info):
        if info.type & Gst.PadProbeType.BUFFER:
            buffer = info.get_buffer()
            bytes_ = buffer.extract_dup(0, buffer.get_size())
            self.bytes.write(bytes_)
            self.write("came", self.stream_time(buffer), len(bytes_))
        elif info.get_event().type == Gst.EventType.SEGMENT:
            self.segment = info.get_event().parse_segment().copy()
        return Gst.PadProbeReturn.OK

    def on_shown(self, _, buffer, __):
        self.write("shown", self.stream_time(buffer))
        self.shown += 1

    def stream_time(self, buffer):
        if buffer.pts == Gst.CLOCK_TIME_NONE:
            return "none"
        # The segment's own arithmetic refuses what the jitter buffer puts a little before its start.
        time = self.segment.time + (buffer.pts - self.segment.start) * self.segment.applied_rate
        return f"{time / Gst.SECOND:.6f}"

    def on_message(self, _, message):
        if message.type == Gst.MessageType.EOS:
            self.has_ended = True
            self.write("eos")
        elif message.type == Gst.MessageType.ERROR:
            error, detail = message.parse_error()
            self.write("error", error.message, (detail or "").replace("\n", " "))
            sys.exit(3)

    def write(self, *words):
        self.events.write(" ".join(str(word) for word in words) + "\n")

    def until(self, condition, patience=PATIENCE_S):
        """Runs the main loop until the condition holds; whether it does."""
        end = GLib.get_monotonic_time() + patience * 1_000_000
        context = self.loop.get_context()
        while not condition():
            if GLib.get_monotonic_time() > end:
                return False
            if not context.iteration(False):
                GLib.usleep(2_000)
        return True

    def must(self, condition, what):
        if not self.until(condition):
            self.write("error", "no", what)
            sys.exit(3)

    def reach(self, state):
        self.pipeline.set_state(state)
        self.must(lambda: self.pipeline.get_state(0)[1] == state, state.value_nick)

    def go_to(self, rate, flags, position):
        done = self.pipeline.seek(
            rate, Gst.Format.TIME, Gst.SeekFlags.FLUSH | flags,
            Gst.SeekType.SET, int(position * Gst.SECOND), Gst.SeekType.NONE, 0,
        )
        self.write("sought", done)
        if done and self.pipeline.target_state == Gst.State.PLAYING:
            self.must(lambda: self.pipeline.get_state(0)[1] == Gst.State.PLAYING, "playing")

    def position(self):
        return self.pipeline.query_position(Gst.Format.TIME)[1] / Gst.SECOND

    def take(self, step):
        verb, *values = step.split()
        self.write("step", step)
        if verb == "play":
            self.reach(Gst.State.PLAYING)
        elif verb == "pause":
            self.reach(Gst.State.PAUSED)
            self.until(lambda: False, PAUSE_S)
        elif verb == "pictures":
            wanted = self.shown + int(values[0])
            self.must(lambda: self.shown >= wanted or self.has_ended, step)
        elif verb == "seek":
            self.go_to(1.0, Gst.SeekFlags.NONE, float(values[0]))
        elif verb == "scale":
            self.go_to(float(values[0]), Gst.SeekFlags.SKIP, self.position())
        elif verb == "speed":
            self.go_to(float(values[0]), Gst.SeekFlags.NONE, self.position())
        elif verb == "end":
            self.must(lambda: self.has_ended, "end")
        else:
            sys.exit(f"no such step: {step}")

    def close(self):
        self.pipeline.set_state(Gst.State.NULL)
        self.events.close()
        self.bytes.close()


def main():
    Gst.init(None)
    player = Player(*sys.argv[1:4])
    try:
        for step in sys.argv[4:]:
            player.take(step)
    finally:
        player.close()


main()
