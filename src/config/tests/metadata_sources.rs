//! Who gives documents for a stream's metadata.

use super::*;

#[test]
fn sources_of_metadata_are_read_and_what_is_wrong_is_refused() {
    let xml = "<metadata>1</metadata><metadata_source><path>/gate/</path><file>a.xml</file></metadata_source>
        <metadata_source><path>b</path><file>/b.xml</file><repeat_s>10</repeat_s><socket>b.socket</socket></metadata_source>";
    let sources = settings_of(xml).metadata_sources;
    let seconds = sources.iter().map(|source| source.repeat.as_secs()).collect::<Vec<_>>();
    assert_eq!((sources[0].path.as_str(), seconds), ("gate", vec![1, 10]));
    assert_eq!((sources[0].file.as_deref(), sources[0].socket.as_deref()), (Some(Path::new("a.xml")), None));
    assert_eq!(sources[1].socket.as_deref(), Some(Path::new("b.socket")));
    let idle = warnings_of("<metadata_source><path>a</path><file>b</file></metadata_source>");
    let expected =
        "rtspserver.xml:2:1: config/metadata_source: ignored while metadata is 0; set metadata to 1";
    assert_eq!(idle, [expected]);
    let long =
        format!("<metadata_source><path>a</path><socket>{}</socket></metadata_source>", "b".repeat(108));
    for (xml, expected) in [
        (
            "<metadata_source><path>a</path></metadata_source>",
            "has neither file nor socket; allowed: one or both",
        ),
        (
            "<metadata_source><file>a</file></metadata_source>",
            "config/metadata_source/path: missing; it names",
        ),
        (
            "<metadata_source><path>a</path><file>b</file><repeat_s>0</repeat_s></metadata_source>",
            "\"0\" is not a number of seconds; allowed: 1 to 3600",
        ),
        (
            "<metadata_source><path>a</path><file>b</file></metadata_source>
             <metadata_source><path>a</path><file>c</file></metadata_source>",
            "config/metadata_source/path: the same as in line 2; allowed: each path once",
        ),
        (
            "<metadata_source><path>a</path><socket>b</socket></metadata_source>
             <metadata_source><path>c</path><socket>b</socket></metadata_source>",
            "config/metadata_source/socket: the same as in line 2; allowed: each socket once",
        ),
        (&long, "is not the name of a socket; allowed: up to 107 bytes"),
    ] {
        let error = error_of(xml);
        assert!(error.contains(expected), "{error}");
    }
}
