#!/usr/bin/python3
"""Stands for a desktop's half of xdg-desktop-portal: hands out PipeWire nodes as screens, and answers for the user.

    portal.py FOLDER

The file FOLDER/answer says what the user does: "show NODE", "refuse", or "wait" for another answer. What happens is told
by lines in FOLDER/told: "asked cursor=MODE" when the user is, "restored NODE" when an earlier choice stands in, "closed"
when the program has ended a session. A file FOLDER/withdraw has the desktop end all sessions.
"""

import json
import os
import subprocess
import sys

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

SCREENCAST = "org.freedesktop.impl.portal.ScreenCast"
SESSION = "org.freedesktop.impl.portal.Session"
ACCEPTED, CANCELLED, FAILED = 0, 1, 2
LOOK_MS = 50

folder = sys.argv[1]
sessions = {}


def tell(line):
    with open(os.path.join(folder, "told"), "a", encoding="utf-8") as file:
        print(line, file=file)


def answer():
    try:
        with open(os.path.join(folder, "answer"), encoding="utf-8") as file:
            return file.read().split()
    except FileNotFoundError:
        return ["wait"]


def node(name):
    """PipeWire's number of a node; None when there is no such node."""
    for thing in json.loads(subprocess.check_output(["pw-dump"])):
        properties = (thing.get("info") or {}).get("props") or {}
        if thing["type"] == "PipeWire:Interface:Node" and properties.get("node.name") == name:
            return thing["id"]
    return None


class Session(dbus.service.Object):
    """One screen for one program."""

    def __init__(self, bus, path):
        super().__init__(bus, path)
        self.path = path
        self.cursor = 0
        self.restored = None
        sessions[path] = self

    @dbus.service.method(SESSION)
    def Close(self):
        tell("closed")
        self.forget()

    @dbus.service.signal(SESSION)
    def Closed(self):
        pass

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="s", out_signature="a{sv}")
    def GetAll(self, _interface):
        return {"version": dbus.UInt32(1)}

    def forget(self):
        sessions.pop(self.path, None)
        self.remove_from_connection()


class Backend(dbus.service.Object):
    """What the portal asks."""

    @dbus.service.method(SCREENCAST, in_signature="oosa{sv}", out_signature="ua{sv}")
    def CreateSession(self, _handle, session, _program, _options):
        Session(self.connection, session)
        return ACCEPTED, {}

    @dbus.service.method(SCREENCAST, in_signature="oosa{sv}", out_signature="ua{sv}")
    def SelectSources(self, _handle, session, _program, options):
        chosen = sessions[session]
        chosen.cursor = int(options.get("cursor_mode", 0))
        if "restore_data" in options:
            _vendor, _version, name = options["restore_data"]
            chosen.restored = str(name)
        return ACCEPTED, {}

    @dbus.service.method(
        SCREENCAST, in_signature="oossa{sv}", out_signature="ua{sv}", async_callbacks=("reply", "fail")
    )
    def Start(self, _handle, session, _program, _window, _options, reply, fail):
        chosen = sessions[session]
        if chosen.restored:
            tell(f"restored {chosen.restored}")
            reply(*self.grant(chosen.restored))
            return
        tell(f"asked cursor={chosen.cursor}")

        def look():
            word, *rest = answer() or ["wait"]
            if word == "wait":
                return session in sessions
            reply(*(self.grant(rest[0]) if word == "show" else (CANCELLED, {})))
            return False

        if look():
            GLib.timeout_add(LOOK_MS, look)

    def grant(self, name):
        number = node(name)
        if number is None:
            return FAILED, {}
        screen = dbus.Dictionary({"source_type": dbus.UInt32(1)}, signature="sv")
        streams = dbus.Array([dbus.Struct((dbus.UInt32(number), screen), signature="ua{sv}")], signature="(ua{sv})")
        data = dbus.Struct(("test", dbus.UInt32(1), dbus.String(name, variant_level=1)), signature="suv")
        return ACCEPTED, {"streams": streams, "persist_mode": dbus.UInt32(2), "restore_data": data}

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, interface, name):
        return self.GetAll(interface)[name]

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="s", out_signature="a{sv}")
    def GetAll(self, interface):
        if interface != SCREENCAST:
            return {}
        names = {"version": 4, "AvailableSourceTypes": 1, "AvailableCursorModes": 7}
        return {name: dbus.UInt32(value) for name, value in names.items()}


def withdraw():
    file = os.path.join(folder, "withdraw")
    if os.path.exists(file):
        os.remove(file)
        for session in list(sessions.values()):
            session.Closed()
            session.forget()
    return True


DBusGMainLoop(set_as_default=True)
connection = dbus.SessionBus()
backend = Backend(connection, "/org/freedesktop/portal/desktop")
owned = dbus.service.BusName("org.freedesktop.impl.portal.desktop.test", connection)
GLib.timeout_add(LOOK_MS, withdraw)
GLib.MainLoop().run()
