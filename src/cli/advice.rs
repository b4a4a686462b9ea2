//! What this machine allows, what a busy server wants of it, and how it is told so.

use std::fmt::Write;
use std::path::Path;

/// Something that the system bounds.
struct Bound {
    /// Its name, which is its path below `/proc/sys` with points.
    name: &'static str,
    /// What is wanted, as it is written there.
    wanted: &'static str,
    /// Whether what there is will do.
    is_enough: fn(&str) -> bool,
    /// What comes of less.
    effect: &'static str,
}

impl Bound {
    /// What there is; None where this system does not have it.
    fn now(&self, settings: &Path) -> Option<String> {
        let text = std::fs::read_to_string(settings.join(self.name.replace('.', "/"))).ok()?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// The advice for this machine; `settings` is its `/proc/sys`, `open_files` how many files may be open, None without a
/// bound.
pub(super) fn advice(settings: &Path, open_files: Option<u64>) -> String {
    let mut text = String::from("limits of this machine\n");
    let files = open_files.map_or("no bound".to_owned(), |files| files.to_string());
    let is_enough = open_files.is_none_or(|files| files >= FILES_WANTED);
    let command = (!is_enough).then(|| {
        format!("LimitNOFILE={FILES_WANTED} in the service, or ulimit -n {FILES_WANTED} before the start")
    });
    line(&mut text, "open files", &files, &FILES_WANTED.to_string(), command.as_deref(), FILES_EFFECT);
    let mut is_all_enough = true;
    for bound in BOUNDS {
        let Some(now) = bound.now(settings) else { continue };
        let command = (!(bound.is_enough)(&now)).then(|| cure(bound));
        is_all_enough &= command.is_none();
        line(&mut text, bound.name, &now, bound.wanted, command.as_deref(), bound.effect);
    }
    if !is_all_enough {
        text.push_str(KEEP);
    }
    text
}

/// Adds what there is to say of one bound. The command is None where nothing has to be done.
fn line(text: &mut String, name: &str, now: &str, wanted: &str, command: Option<&str>, effect: &str) {
    let name = format!("  {name}");
    // Writing to a string cannot fail.
    let _ = match command {
        None => writeln!(text, "{name:<32} {now}, enough (wanted: {wanted})"),
        Some(command) => {
            writeln!(text, "{name:<32} {now}, wanted: {wanted}\n      else {effect}\n      {command}")
        }
    };
}

fn cure(bound: &Bound) -> String {
    let set = format!("sysctl -w {}=\"{}\"", bound.name, bound.wanted);
    match bound.name {
        // What is there already keeps its own.
        QDISC => format!("{set}; for an interface that is up: tc qdisc replace dev INTERFACE root fq"),
        _ => set,
    }
}

fn is_number_from(text: &str, least: u64) -> bool {
    text.parse().is_ok_and(|value: u64| value >= least)
}

/// In the order in which they matter.
const BOUNDS: &[Bound] = &[
    Bound {
        name: "kernel.io_uring_disabled",
        wanted: "0",
        is_enough: |now| now == "0",
        effect: "the fallback serves, which takes more of the processor",
    },
    // What the server asks for to send and to receive; with CAP_NET_ADMIN it goes beyond these bounds by itself.
    Bound {
        name: "net.core.wmem_max",
        wanted: "8388608",
        is_enough: |now| is_number_from(now, 8 << 20),
        effect: "keyframes to many viewers over UDP do not fit and leave later",
    },
    Bound {
        name: "net.core.rmem_max",
        wanted: "1048576",
        is_enough: |now| is_number_from(now, 1 << 20),
        effect: "keyframes of cameras, pushers and publishers over UDP lose packets while a shard is busy",
    },
    Bound {
        name: "net.core.somaxconn",
        wanted: "4096",
        is_enough: |now| is_number_from(now, 4096),
        effect: "of many clients that connect at once some have to try again, a second later",
    },
    Bound {
        name: QDISC,
        wanted: "fq",
        is_enough: |now| ["fq", "fq_codel", "cake"].contains(&now),
        effect: "a burst for one viewer holds up those behind it at the network card",
    },
    Bound {
        name: "net.ipv4.ip_local_port_range",
        wanted: "32768 60999",
        is_enough: |now| now.split(' ').next().is_some_and(|first| is_number_from(first, 30_000)),
        effect: "programs that connect from here may take ports of udp_port_min to udp_port_max (20000 to 29999)",
    },
    // There only where a firewall looks at connections.
    Bound {
        name: "net.netfilter.nf_conntrack_max",
        wanted: "262144",
        is_enough: |now| is_number_from(now, 65_536),
        effect: "the firewall drops new viewers without a word when so many are there",
    },
];

const QDISC: &str = "net.core.default_qdisc";

/// 10,000 sessions, and their files.
const FILES_WANTED: u64 = 20_000;
const FILES_EFFECT: &str = "viewers over TCP are refused, each of which is an open file";

const KEEP: &str =
    "  To keep a setting over a restart, write it as name = value into /etc/sysctl.d/90-ringcaster.conf.\n";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A `/proc/sys` with these settings.
    fn machine(name: &str, settings: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("ringcaster-advice-{name}-{}", std::process::id()));
        for (name, value) in settings {
            let file = folder.join(name.replace('.', "/"));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, format!("{value}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_too_little_is_told_with_its_effect_and_the_command() {
        let settings = [("net.core.wmem_max", "212992"), ("net.core.default_qdisc", "pfifo_fast")];
        let folder = machine("little", &settings);
        let text = advice(&folder, Some(1024));
        fs::remove_dir_all(folder).unwrap();
        assert!(
            text.contains("open files                     1024, wanted: 20000\n      else viewers over TCP"),
            "{text}"
        );
        assert!(
            text.contains("net.core.wmem_max              212992, wanted: 8388608\n      else keyframes"),
            "{text}"
        );
        assert!(text.contains("\n      sysctl -w net.core.wmem_max=\"8388608\"\n"), "{text}");
        assert!(
            text.contains("net.core.default_qdisc=\"fq\"; for an interface that is up: tc qdisc"),
            "{text}"
        );
        assert!(text.ends_with(KEEP), "{text}");
        assert!(!text.contains("rmem_max"), "what is not there is not spoken of: {text}");
    }

    #[test]
    fn what_is_enough_needs_no_command() {
        let settings = [
            ("kernel.io_uring_disabled", "0"),
            ("net.core.wmem_max", "8388608"),
            ("net.core.default_qdisc", "fq_codel"),
            ("net.ipv4.ip_local_port_range", "32768\t60999"),
        ];
        let folder = machine("enough", &settings);
        let text = advice(&folder, None);
        fs::remove_dir_all(folder).unwrap();
        assert!(!text.contains("else") && !text.contains("sysctl"), "{text}");
        assert_eq!(text.matches(", enough (wanted: ").count(), 5, "{text}");
        assert!(text.contains("32768 60999, enough"), "{text}");
    }

    #[test]
    fn ports_of_media_that_others_may_take_are_told() {
        let folder = machine("ports", &[("net.ipv4.ip_local_port_range", "1024 65535")]);
        let text = advice(&folder, None);
        fs::remove_dir_all(folder).unwrap();
        assert!(text.contains("sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\""), "{text}");
    }
}
