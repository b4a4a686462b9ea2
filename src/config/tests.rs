//! What a person reads when a configuration is wrong, and what they get when it is right.

mod metadata_sources;
mod users;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proto::track::BitOrder;

use super::checked::check;
use super::settings::{GopCache, Host, LogLevel, Loops, PusherMode, Transfer};
use super::*;

/// Loads `xml` as if it were `rtspserver.xml`, with nothing above the file.
fn load_text(xml: &str) -> Result<Loaded, ConfigError> {
    load_with(xml, &Overrides::default())
}

fn load_with(xml: &str, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    running::load_bytes(xml.as_bytes(), Path::new("rtspserver.xml"), overrides)
}

fn inside(elements: &str) -> String {
    format!("<config>\n{elements}\n</config>")
}

/// The only error of `<config>` with `elements` from line 2.
fn error_of(elements: &str) -> String {
    let error = load_text(&inside(elements)).expect_err("it is wrong");
    assert_eq!(error.problems.len(), 1, "{error}");
    error.to_string()
}

fn warnings_of(elements: &str) -> Vec<String> {
    load_text(&inside(elements)).unwrap().warnings.iter().map(Problem::to_string).collect()
}

fn settings_of(elements: &str) -> Settings {
    load_text(&inside(elements)).unwrap().settings
}

#[test]
fn the_documented_file_is_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rtspserver.xml");
    let loaded = load(Some(&path), &Overrides::default()).unwrap();
    let defaults = Settings::default();
    let text = std::fs::read_to_string(&path).unwrap();
    for key in keys().filter(|key| key.name != "media_dir") {
        assert_eq!((key.show)(&loaded.settings), (key.show)(&defaults), "{}", key.name);
        assert!(text.contains(&format!("<{}>", key.name)), "{} is not documented", key.name);
        // What has a default is written out, so that the page and the program cannot part.
        let is_empty = (key.show)(&defaults).is_empty();
        assert_eq!(loaded.settings.is_named(key.name), !is_empty, "{}", key.name);
    }
    let plain = Settings {
        folder: PathBuf::new(),
        media_dir: defaults.media_dir.clone(),
        origins: Default::default(),
        ..loaded.settings
    };
    assert_eq!(plain, defaults);
}

#[test]
fn every_node_that_the_documented_file_shows_in_a_comment_loads() {
    let text = include_str!("../../config/rtspserver.xml");
    let mut shown = 0;
    for comment in text.split("<!--").skip(1).filter_map(|rest| rest.split("-->").next()) {
        let Some(start) = comment.find("\n  <") else { continue };
        shown += 1;
        let loaded = load_text(&inside(&comment[start..])).unwrap();
        let unknown = loaded.warnings.iter().find(|warning| warning.text.contains("unknown"));
        assert_eq!(unknown, None);
    }
    assert_eq!(shown, 7);
}

#[test]
fn an_empty_configuration_is_the_defaults() {
    for xml in ["<config/>", "<config></config>", "\u{feff}<config>\r\n</config>\r\n"] {
        // Where no folder of media lies beside it.
        let file = Path::new("config/rtspserver.xml");
        let loaded = running::load_bytes(xml.as_bytes(), file, &Overrides::default()).unwrap();
        let folder = PathBuf::from("config");
        let defaults = Settings { media_dir: folder.clone(), folder, ..Settings::default() };
        assert_eq!(loaded.settings, defaults);
        assert_eq!(loaded.warnings, []);
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_what_is_allowed() {
    let port = "rtspserver.xml:2:15: config/serverport: \"abc\" is not a port; allowed: 1 to 65535";
    assert_eq!(error_of("  <serverport>abc</serverport>"), port);
    let cases = [
        ("serverport", "0", "a port; allowed: 1 to 65535"),
        ("serverport", "65536", "a port; allowed: 1 to 65535"),
        ("serverport", "+5", "a port; allowed: 1 to 65535"),
        ("rtsps_port", "-1", "a port; allowed: 0 (closed) to 65535"),
        (
            "serverip",
            "1.2.3",
            "an address or a name; allowed: IPv4 or IPv6 addresses, host names, 0.0.0.0 for all of IPv4, :: for all of IPv6",
        ),
        (
            "serverip",
            "a/b",
            "an address or a name; allowed: IPv4 or IPv6 addresses, host names, 0.0.0.0 for all of IPv4, :: for all of IPv6",
        ),
        ("loop_nums", "-2", "a number of plays; allowed: -1 (endless), 0 (once) to 4294967295"),
        ("multicast", "2", "a switch; allowed: 0 or 1"),
        (
            "multicast_ip_min",
            "10.0.0.1",
            "a multicast address; allowed: 224.0.0.0 to 239.255.255.255, or ff00:: and above",
        ),
        ("multicast_ttl", "0", "a number of hops; allowed: 1 to 255"),
        (
            "multicast_interface",
            "eth 0",
            "an interface; allowed: a name such as eth0, or an address of this machine",
        ),
        ("mtu", "100", "a packet size in bytes; allowed: 576 to 9000"),
        ("udp_port_min", "80", "a port; allowed: 1024 to 65535"),
        ("session_timeout", "1.5", "a time in seconds; allowed: 0 (never) to 86400"),
        ("log_level", "6", "a level; allowed: 0 TRACE, 1 DEBUG, 2 INFO, 3 WARN, 4 ERROR, 5 FATAL"),
        ("log_format", "xml", "a format; allowed: text, json"),
        ("backend", "epoll", "a backend; allowed: auto, uring, fallback"),
        (
            "gop_cache",
            "3",
            "a way to start; allowed: 0 (next keyframe), 1 (cached keyframe, catching up), 2 (cached keyframe, true times)",
        ),
        ("gop_cache_s", "0", "a time in seconds; allowed: 1 to 300"),
        ("gop_cache_mb", "2048", "a size in MiB; allowed: 1 to 1024"),
        ("on_play", "ftp://a/b", "a URL; allowed: http:// or https:// and a host"),
        ("notify_method", "PUT", "a method; allowed: POST, GET"),
        (
            "auth_algorithm",
            "SHA-1",
            "a list of hash functions; allowed: MD5, SHA-256, or both in the order in which they are offered",
        ),
        (
            "realm",
            "a \" b",
            "a name of what passwords are for; allowed: up to 100 characters without \" and \\",
        ),
        (
            "deny",
            "192.0.2.0/33",
            "a list of addresses; allowed: IPv4 or IPv6 addresses, and ranges such as 192.0.2.0/24 and 2001:db8::/32",
        ),
        ("ban_s", "0", "a time in seconds; allowed: 1 to 86400"),
    ];
    for (name, text, sentence) in cases {
        let column = name.len() + 3;
        let expected = format!("rtspserver.xml:2:{column}: config/{name}: \"{text}\" is not {sentence}");
        assert_eq!(error_of(&format!("<{name}>{text}</{name}>")), expected);
    }
}

#[test]
fn a_wrong_value_inside_a_node_is_refused_with_its_path() {
    let cases = [
        (
            "<output><video><codec>H266</codec></video></output>",
            "rtspserver.xml:2:23: config/output/video/codec: \"H266\" is not a video codec; \
             allowed: H264, H265, MP4, JPEG, NONE, or empty",
        ),
        (
            "<output><audio>\n <samplerate>9000</samplerate></audio></output>",
            "rtspserver.xml:3:14: config/output/audio/samplerate: \"9000\" is not a sample rate; allowed: 0 (the \
             source's), 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000",
        ),
        (
            "<output><audio><channels>3</channels></audio></output>",
            "rtspserver.xml:2:26: config/output/audio/channels: \"3\" is not a number of channels; \
             allowed: 0 (the source's), 1 mono, 2 stereo",
        ),
        (
            "<output><video><framerate>1e2</framerate></video></output>",
            "rtspserver.xml:2:27: config/output/video/framerate: \"1e2\" is not a frame rate; \
             allowed: 0 (the source's) to 240",
        ),
        (
            "<proxy><suffix>a</suffix><url>rtsp://</url></proxy>",
            "rtspserver.xml:2:31: config/proxy/url: \"rtsp://\" is not a URL; \
             allowed: rtsp://, rtsps://, http:// or https:// and a host",
        ),
        (
            "<proxy><suffix>a</suffix><url>rtsp://h/</url><transfer>SCTP</transfer></proxy>",
            "rtspserver.xml:2:56: config/proxy/transfer: \"SCTP\" is not a transport; allowed: TCP, UDP, MULTICAST",
        ),
        (
            "<proxy><url>rtsp://h/</url></proxy>",
            "rtspserver.xml:2:1: config/proxy/suffix: missing; the stream needs a path",
        ),
        (
            "<user><password>x</password></user>",
            "rtspserver.xml:2:1: config/user/username: missing; a user needs a name",
        ),
        (
            "<http_notify><on_done>example</on_done></http_notify>",
            "rtspserver.xml:2:23: config/on_done: \"example\" is not a URL; allowed: http:// or https:// and a host",
        ),
        (
            "<backchannel><codec>MP3</codec></backchannel>",
            "rtspserver.xml:2:21: config/backchannel/codec: \"MP3\" is not an audio codec; \
             allowed: G711A, G711U, G722, G726, AAC, OPUS, NONE, or empty",
        ),
    ];
    for (xml, expected) in cases {
        let expected = expected.replace("config/on_done", "config/http_notify/on_done");
        assert_eq!(error_of(xml), expected);
    }
}

#[test]
fn a_wrong_pusher_is_refused_with_its_path() {
    let cases = [
        (
            "<pusher><suffix>a b</suffix></pusher>",
            "rtspserver.xml:2:17: config/pusher/suffix: \"a b\" is not a path; \
             allowed: any characters but spaces & ? # %, found ' '",
        ),
        (
            "<pusher><suffix>a</suffix><transfer><mode>SCTP</mode></transfer></pusher>",
            "rtspserver.xml:2:43: config/pusher/transfer/mode: \"SCTP\" is not a mode; allowed: TCP, UDP, RTSP",
        ),
        (
            "<pusher><suffix>a</suffix><video><codec>H264</codec></video><transfer><mode>UDP</mode></transfer></pusher>",
            "rtspserver.xml:2:61: config/pusher/transfer/vport: missing; \
             a track in TCP or UDP mode needs a port; allowed: 1 to 65535",
        ),
        (
            "<pusher><suffix>a</suffix><transfer><mode>TCP</mode></transfer></pusher>",
            "rtspserver.xml:2:1: config/pusher: no track; a pusher in this mode needs a video or audio codec",
        ),
        (
            "<pusher><suffix>a</suffix><audio><codec>AAC</codec><config>121</config></audio></pusher>",
            "rtspserver.xml:2:60: config/pusher/audio/config: \"121\" is not an AudioSpecificConfig; \
             allowed: pairs of hexadecimal digits, such as 1210",
        ),
        (
            "<pusher><suffix>a</suffix><audio><codec>G726</codec><bitrate>64</bitrate></audio></pusher>",
            "rtspserver.xml:2:62: config/pusher/audio/bitrate: \"64\" is not a bit rate of G.726 in kbit/s; \
             allowed: 16, 24, 32, 40",
        ),
        (
            "<pusher><suffix>a</suffix><audio><codec>G726</codec><bitorder>x</bitorder></audio></pusher>",
            "rtspserver.xml:2:63: config/pusher/audio/bitorder: \"x\" is not an order of bits; \
             allowed: LSB (as RFC 3551 has it), MSB (as AAL2 has it)",
        ),
    ];
    for (xml, expected) in cases {
        assert_eq!(error_of(xml), expected);
    }
}

#[test]
fn many_elements_in_one_line_know_their_columns() {
    let xml = format!("<config>{}</config>", "<user>ä</user>".repeat(15_000));
    let root = typed::parse(xml.as_bytes(), Path::new("f.xml")).unwrap();
    let last = root.children.last().unwrap();
    let column = 9 + 14_999 * 14;
    assert_eq!((root.children.len(), last.place.line, last.place.column), (15_000, 1, column));
    assert_eq!(last.text_place.column, column + 6);
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let cases = [
        (
            "<udp_port_min>30000</udp_port_min>\n<udp_port_max>30000</udp_port_max>",
            "rtspserver.xml:3:15: config/udp_port_max: 30000 is not above udp_port_min 30000; allowed: at least one pair of ports",
        ),
        (
            "<multicast_ip_max>239.0.0.1</multicast_ip_max>",
            "rtspserver.xml:2:19: config/multicast_ip_max: 239.0.0.1 is below multicast_ip_min 239.192.0.1; \
             allowed: a range of one family",
        ),
        (
            "<multicast_ip_min>224.0.0.9</multicast_ip_min>",
            "rtspserver.xml:2:19: config/multicast_ip_min: 224.0.0.9 is for routing alone, which passes it to nobody; \
             allowed: 224.0.1.0 and above, best 239.192.0.0 and above",
        ),
        (
            "<multicast_ip_min>ff15::</multicast_ip_min>\n<multicast_ip_max>ff1e::1</multicast_ip_max>\n\
             <multicast_interface>10.0.0.1</multicast_interface>",
            "rtspserver.xml:4:22: config/multicast_interface: 10.0.0.1 and multicast_ip_min ff15:: are not of one family; \
             allowed: an address of its family",
        ),
        (
            "<multicast_ip_min>ff02::1</multicast_ip_min>\n<multicast_ip_max>ff15::1</multicast_ip_max>",
            "rtspserver.xml:2:19: config/multicast_ip_min: ff02::1 belongs to a protocol; \
             allowed: ff10:: and above, such as ff15:: or ff35::",
        ),
        (
            "<multicast_ip_min>ff11::1</multicast_ip_min>\n<multicast_ip_max>ff15::1</multicast_ip_max>",
            "rtspserver.xml:2:19: config/multicast_ip_min: ff11::1 does not leave this machine; \
             allowed: groups of a wider scope, such as ff15:: or ff35::",
        ),
        (
            "<cert_file>a.pem</cert_file>",
            "rtspserver.xml:2:12: config/cert_file: cert_file and key_file need each other; allowed: both or neither",
        ),
        (
            "<serverport>80</serverport>\n<http_port>80</http_port>",
            "rtspserver.xml:3:12: config/http_port: 80 is serverport too; allowed: a port of its own",
        ),
        (
            "<pusher><suffix>a</suffix></pusher>\n<proxy><suffix>/a</suffix></proxy>",
            "rtspserver.xml:3:16: config/proxy/suffix: \"a\" is taken in line 2; allowed: each suffix once",
        ),
        (
            "<pusher><suffix>a</suffix><video><codec>H264</codec></video>\n\
             <transfer><mode>TCP</mode><vport>5000</vport></transfer></pusher>\n\
             <pusher><suffix>b</suffix><audio><codec>AAC</codec></audio>\n\
             <transfer><mode>TCP</mode><ip>::1</ip><aport>5000</aport></transfer></pusher>",
            "rtspserver.xml:4:1: config/pusher/transfer/aport: 5000 is a port of the pusher in line 2; \
             allowed: a port of its own",
        ),
        (
            "<media_dir>/nowhere/at/all</media_dir>",
            "rtspserver.xml:2:12: config/media_dir: /nowhere/at/all cannot be read: No such file or directory (os error 2); \
             allowed: a folder that can be read",
        ),
    ];
    for (xml, expected) in cases {
        assert_eq!(error_of(xml), expected);
    }
    // A door that nobody asked for gives way instead.
    assert_eq!(settings_of("<serverport>8080</serverport>").server_port, 8080);
}

#[test]
fn all_problems_of_a_file_are_told_at_once_in_its_order() {
    let xml = inside(
        "<proxy><suffix>a</suffix><url>x</url></proxy>\n<serverport>x</serverport>\n<pusher><suffix>#</suffix></pusher>",
    );
    let lines: Vec<_> =
        load_text(&xml).expect_err("it is wrong").problems.iter().map(Problem::to_string).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("rtspserver.xml:2:31: config/proxy/url: "));
    assert!(lines[1].starts_with("rtspserver.xml:3:13: config/serverport: "));
    assert!(lines[2].starts_with("rtspserver.xml:4:17: config/pusher/suffix: "));
}

#[test]
fn unknown_elements_are_ignored_with_the_nearest_name() {
    let cases = [
        (
            "<server_port>1</server_port>",
            "rtspserver.xml:2:1: config/server_port: unknown element; did you mean <serverport>?",
        ),
        (
            "<Multicast>1</Multicast>",
            "rtspserver.xml:2:1: config/Multicast: unknown element; did you mean <multicast>?",
        ),
        ("<colour>red</colour>", "rtspserver.xml:2:1: config/colour: unknown element"),
        (
            "<output><video><hight>1</hight></video></output>",
            "rtspserver.xml:2:16: config/output/video/hight: unknown element; did you mean <height>?",
        ),
        ("<mtu unit=\"byte\">1400</mtu>", "rtspserver.xml:2:1: config/mtu: attribute \"unit\" is ignored"),
        ("<mtu><max>3</max></mtu>", "rtspserver.xml:2:6: config/mtu/max: unknown element"),
        ("<output>*.mp4</output>", "rtspserver.xml:2:9: config/output: text between the elements is ignored"),
        (
            "<mtu>1300</mtu>\n<mtu>1400</mtu>",
            "rtspserver.xml:3:1: config/mtu: named before; this one is used",
        ),
        ("loose", "rtspserver.xml:2:1: config: text between the elements is ignored"),
    ];
    for (xml, expected) in cases {
        assert_eq!(warnings_of(xml), [expected]);
    }
}

#[test]
fn what_is_right_is_taken_without_a_word() {
    assert_eq!(warnings_of("<reload>1</reload>"), Vec::<String>::new());
    assert_eq!(warnings_of("<metadata>1</metadata><rtsps_port>0</rtsps_port>"), Vec::<String>::new());
    assert_eq!(warnings_of("<multicast>1</multicast>"), Vec::<String>::new());
    let rule = "<output><video><codec>H265</codec></video></output>";
    assert_eq!(warnings_of(rule), Vec::<String>::new());
    let proxy = |output: &str| format!("<proxy><suffix>a</suffix><url>rtsp://h/</url>\n{output}</proxy>");
    assert_eq!(warnings_of(&proxy("<output></output>")), Vec::<String>::new());
    assert_eq!(warnings_of(&proxy(rule)), Vec::<String>::new());
}

#[test]
fn sound_that_a_codec_cannot_carry_is_clamped_and_said() {
    let xml = "<output><audio><codec>G726</codec>\n<samplerate>16000</samplerate>\n<channels>2</channels></audio></output>";
    let loaded = load_text(&inside(xml)).unwrap();
    let audio = loaded.settings.outputs[0].format.audio;
    assert_eq!((audio.sample_rate, audio.channels), (Some(8000), Some(1)));
    let lines: Vec<_> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(
        lines[0],
        "rtspserver.xml:3:13: config/output/audio/samplerate: G726 does not carry 16000 Hz; 8000 is used"
    );
    assert_eq!(
        lines[1],
        "rtspserver.xml:4:11: config/output/audio/channels: G726 does not carry 2 channels; 1 is used"
    );
    let opus =
        settings_of("<output><audio><codec>opus</codec><samplerate>44100</samplerate></audio></output>");
    assert_eq!(opus.outputs[0].format.audio.sample_rate, Some(48_000));
}

#[test]
fn values_are_understood_in_any_case_and_with_spaces_around() {
    let settings = settings_of(
        "<log_level> Warn </log_level><backend>\n FALLBACK\n</backend><multicast>YES</multicast><loop_nums>-1</loop_nums>
         <output><url>a</url><video><codec>h264</codec></video><audio><codec>g711</codec></audio></output>
         <output><video><codec>none</codec></video><audio><codec></codec><samplerate>0</samplerate></audio></output>",
    );
    assert_eq!((settings.log_level, settings.backend), (LogLevel::Warn, BackendChoice::Fallback));
    assert!(settings.multicast && settings.loops == Loops::Endless);
    assert_eq!(settings.outputs[0].format.video.codec, Choice::As(VideoCodec::H264));
    assert_eq!(settings.outputs[0].format.audio.codec, Choice::As(AudioCodec::G711U));
    assert_eq!(settings.outputs[1].format.video.codec, Choice::Drop);
    assert_eq!(settings.outputs[1].format.audio, AudioFormat::default());
    assert_eq!(settings_of("<loop_nums>0</loop_nums>").loops, Loops::Times(1));
    assert_eq!(settings_of("<gop_cache>2</gop_cache>").gop_cache, GopCache::TrueTimes);
    let settings = settings_of("<gop_cache_s>3</gop_cache_s><gop_cache_mb>5</gop_cache_mb>");
    assert_eq!((settings.gop_cache_s, settings.gop_cache_mb), (3, 5));
}

#[test]
fn several_addresses_are_listened_on_and_empty_ones_ignored() {
    let xml = "<serverip></serverip><serverip>[::1]</serverip><serverip> 192.0.2.1 </serverip><serverip>host.test</serverip>";
    let settings = settings_of(&format!("{xml}<serverip>fe80::1%eth0</serverip>"));
    let shown: Vec<_> = settings.server_ips.iter().map(Host::to_string).collect();
    assert_eq!(shown, ["::1", "192.0.2.1", "host.test", "fe80::1%eth0"]);
}

#[test]
fn nodes_that_a_template_left_empty_are_ignored() {
    let xml = "<user><username/><password></password></user>\n<proxy><suffix></suffix><url/><transfer>TCP</transfer></proxy>\n\
               <pusher><suffix/><transfer><mode></mode></transfer></pusher>\n<output><url/></output>";
    let expected = [
        "rtspserver.xml:2:1: config/user: empty: ignored",
        "rtspserver.xml:3:25: config/proxy/url: empty: this proxy is switched off",
        "rtspserver.xml:4:1: config/pusher: empty: ignored",
    ];
    assert_eq!(warnings_of(xml), expected);
}

#[test]
fn a_device_that_never_ends_is_not_read_as_a_file() {
    let error = load(Some(Path::new("/dev/zero")), &Overrides::default()).expect_err("it is too large");
    assert_eq!(error.to_string(), "/dev/zero:1:1: the file is too large; allowed: 1048576 bytes");
}

#[test]
fn proxies_and_pushers_are_read_whole() {
    let settings = settings_of(
        "<proxy><suffix>/gate/</suffix><url>rtsp://h/s?a=1&b=2</url><user>u</user><pass>p&amp;&#65;</pass>
         <transfer>multicast</transfer><ondemand>0</ondemand><backchannel>0</backchannel>
         <output><video><width>640</width></video></output></proxy>
         <proxy><suffix>off</suffix></proxy><proxy><suffix>door</suffix><url>rtsp://h/</url></proxy>
         <pusher><suffix>studio</suffix></pusher>
         <pusher><suffix>mic</suffix><audio><codec>G722</codec></audio>
         <transfer><mode>tcp</mode><ip>::1</ip><aport>5000</aport></transfer></pusher>",
    );
    let proxy = &settings.proxies[0];
    assert_eq!((proxy.suffix.as_str(), proxy.url.as_str()), ("gate", "rtsp://h/s?a=1&b=2"));
    assert_eq!((proxy.pass.reveal(), proxy.transfer, proxy.ondemand), ("p&A", Transfer::Multicast, false));
    assert_eq!(proxy.output.as_ref().unwrap().format.video.width, Some(640));
    assert_eq!(settings.proxies.len(), 2);
    assert_eq!(settings.proxies.iter().map(|proxy| proxy.backchannel).collect::<Vec<_>>(), [false, true]);
    assert_eq!(settings.pushers[0].mode, PusherMode::Rtsp);
    let audio = settings.pushers[1].audio.as_ref().unwrap();
    assert_eq!((audio.sample_rate, audio.channels, audio.port), (16_000, 1, Some(5000)));
    assert_eq!((audio.g726_bits, audio.g726_order, &audio.config), (4, BitOrder::LeastFirst, &None));
    assert!(!format!("{settings:?}").contains("p&A"));
}

#[test]
fn the_command_line_comes_before_the_environment_before_the_file() {
    let overrides = Overrides {
        environment: vec![
            ("RINGCASTER_SERVERPORT".into(), "8001".into()),
            ("RINGCASTER_SHARDS".into(), "3".into()),
            ("RINGCASTER_MTU".into(), String::new()),
            ("RINGCASTER_SHARD".into(), "4".into()),
            ("PATH".into(), "/bin".into()),
        ],
        command_line: vec![("shards", "4".into())],
        ..Overrides::default()
    };
    let xml = inside("<serverport>8000</serverport>\n<mtu>1300</mtu>");
    let loaded = load_with(&xml, &overrides).unwrap();
    let settings = loaded.settings;
    assert_eq!((settings.server_port, settings.shards, settings.mtu), (8001, Some(4), 1300));
    assert_eq!(settings.cite("serverport"), "serverport, RINGCASTER_SERVERPORT");
    assert_eq!(settings.cite("shards"), "shards, command line");
    assert_eq!(settings.cite("mtu"), "mtu, rtspserver.xml:3");
    assert_eq!(settings.cite("http_port"), "http_port, default");
    let lines: Vec<_> = loaded.warnings.iter().map(Problem::to_string).collect();
    assert_eq!(lines, ["RINGCASTER_SHARD: unknown variable; did you mean RINGCASTER_SHARDS?"]);
    let wrong =
        Overrides { environment: vec![("RINGCASTER_MTU".into(), "9".into())], ..Overrides::default() };
    let sentence = "RINGCASTER_MTU: \"9\" is not a packet size in bytes; allowed: 576 to 9000";
    assert_eq!(load_with(&xml, &wrong).expect_err("it is wrong").to_string(), sentence);
}

#[test]
fn a_file_that_is_not_xml_is_refused_with_its_place() {
    let cases: [(&[u8], &str); 12] = [
        (b"", "1:1: no root element; allowed: <config>"),
        (b"\n hello", "2:2: text outside of the root element <config>"),
        (b"<settings/>", "1:1: the root element is <settings>; allowed: <config>"),
        (
            b"<config>\n <mtu>1400</config>",
            "2:11: not well-formed XML: ill-formed document: expected `</mtu>`, but `</config>` was found",
        ),
        (b"<config>\n  <mtu>", "2:3: not well-formed XML: <mtu> is never closed"),
        (b"<config/><config/>", "1:10: a second root element; allowed: one <config>"),
        (
            b"<config>\n<mtu>&secret;</mtu></config>",
            "2:6: unknown entity \"&secret;\"; allowed: &amp; &lt; &gt; &quot; &apos; &#N; &#xN;",
        ),
        (
            b"<?xml version=\"1.0\" encoding=\"gb2312\"?><config/>",
            "1:1: encoding \"gb2312\" is not supported; allowed: utf-8",
        ),
        (b"<config>\n\xc3\xa4\xff</config>", "2:2: not valid UTF-8; allowed: utf-8"),
        (b"\xff\xfe<\0", "1:1: the file is UTF-16; allowed: utf-8"),
        (
            b"<config><mtu a=1/></config>",
            "1:9: not well-formed XML: position 6: attribute value must be enclosed in `\"` or `'`",
        ),
        (
            b"<config",
            "1:1: not well-formed XML: syntax error: tag not closed: `>` not found before end of input",
        ),
    ];
    for (bytes, expected) in cases {
        let error =
            running::load_bytes(bytes, Path::new("f.xml"), &Overrides::default()).expect_err("it is wrong");
        assert_eq!(error.to_string(), format!("f.xml:{expected}"));
    }
}

#[test]
fn a_file_is_bounded_in_size_and_depth() {
    let large = vec![b' '; (1 << 20) + 1];
    let error = typed::parse(&large, Path::new("f.xml")).expect_err("it is too large");
    assert_eq!(error.to_string(), "f.xml:1:1: the file is too large; allowed: 1048576 bytes");
    let error =
        typed::parse("<a>".repeat(100_000).as_bytes(), Path::new("f.xml")).expect_err("it is too deep");
    assert_eq!(error.to_string(), "f.xml:1:49: elements are nested too deeply; allowed: 16 levels");
}

#[test]
fn an_entity_cannot_read_a_file() {
    let xml = "<!DOCTYPE config [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>\n<config><on_play>&x;</on_play></config>";
    let error = load_text(xml).expect_err("it is refused");
    assert!(error.to_string().starts_with("rtspserver.xml:2:18: unknown entity \"&x;\""));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Some(Path::new("/nowhere/a.xml")), &Overrides::default()).expect_err("it is not there");
    assert_eq!(error.to_string(), "/nowhere/a.xml: cannot be read: No such file or directory (os error 2)");
}

#[test]
fn relative_paths_are_beside_the_file_and_media_is_found_there() {
    let folder = std::env::temp_dir().join(format!("ringcaster-config-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("media")).unwrap();
    let file = folder.join("config.xml");
    std::fs::write(&file, "<config><log_file>a.log</log_file></config>").unwrap();
    assert_eq!(find_file(&folder), Some(file.clone()));
    let settings = load(Some(&file), &Overrides::default()).unwrap().settings;
    assert_eq!(settings.media_dir, folder.join("media"));
    assert_eq!(settings.log_file, Some(folder.join("a.log")));
    std::fs::remove_dir(folder.join("media")).unwrap();
    let settings = load(Some(&file), &Overrides::default()).unwrap().settings;
    assert_eq!(settings.media_dir, folder);
    std::fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = running::load_bytes(&bytes, Path::new("f.xml"), &Overrides::default());
    }

    #[test]
    fn no_mixture_of_markup_makes_the_reader_panic(pieces in proptest::collection::vec(
        prop_oneof![
            Just("<config>"), Just("</config>"), Just("<output>"), Just("</output>"), Just("<video>"), Just("</video>"),
            Just("<codec>"), Just("</codec>"), Just("<pusher>"), Just("</pusher>"), Just("<suffix>"), Just("</suffix>"),
            Just("<serverip>"), Just("</serverip>"), Just("<!--"), Just("-->"), Just("<![CDATA["), Just("]]>"),
            Just("&amp;"), Just("&#x0;"), Just("&"), Just("<?"), Just("?>"), Just("ä\n"), Just("554"), Just("*"), Just("<a b='c'/>"),
        ], 0..60)) {
        let _ = running::load_bytes(pieces.concat().as_bytes(), Path::new("f.xml"), &Overrides::default());
    }

    #[test]
    fn any_text_in_an_element_is_read_back_or_refused(text in "[^<&\\x00-\\x1f]{0,40}") {
        let xml = format!("<config>\n<on_play>{text}</on_play></config>");
        let root = typed::parse(xml.as_bytes(), Path::new("f.xml")).unwrap();
        prop_assert_eq!(&root.children[0].text, text.trim());
        prop_assert!(check(&root).is_ok() || !text.trim().starts_with("http"));
    }
}
