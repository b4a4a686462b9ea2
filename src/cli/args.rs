//! The options, as clap reads them.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};

use crate::config::Overrides;

/// An RTSP server for media hosts.
#[derive(Debug, Parser)]
#[command(name = "rtspserver", version, about, args_conflicts_with_subcommands = true)]
#[command(after_help = "Every setting of the file can also be given as RINGCASTER_<KEY>. \
    The command line comes before the environment, the environment before the file.\n\
    Exit codes: 0 done, 2 wrong usage or configuration, 1 anything else.")]
pub(super) struct Args {
    /// What to do; serving is what happens without a word.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    /// Options of `serve`, which need no word.
    #[command(flatten)]
    pub(super) serve: Serve,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve until stopped (the default)
    Serve(Serve),
    /// Check a configuration and print what it means
    Check(Check),
    /// Read a password and print what stands for it in a configuration
    HashPassword(HashPassword),
    /// List monitors, windows, cameras and microphones, with the names they are streamed by
    Devices(Devices),
    /// Print what this machine offers
    Probe,
    /// Serve in the background of Windows, from its start on
    #[command(subcommand)]
    Service(Service),
}

/// What to do with the service of Windows.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Service {
    /// Register the program, to be started with Windows, with these options
    Install(Install),
    /// Take it off the list of services; one that runs is stopped
    Uninstall,
    /// Serve as the service; Windows itself starts this
    #[command(hide = true)]
    Run(Serve),
}

/// Options of `service install`.
#[derive(Clone, Debug, Group)]
pub(super) struct Install {
    /// Whose rights it has: it must read the configuration and the media, and write the log
    #[arg(long, value_name = "NAME", default_value = r"NT AUTHORITY\LocalService")]
    pub(super) account: String,
    #[command(flatten)]
    pub(super) serve: Serve,
}

/// Options of `hash-password`.
#[derive(Clone, Debug, Group)]
pub(super) struct HashPassword {
    /// Name of the user, which the hash holds
    #[arg(value_name = "USER")]
    pub(super) user: String,
    /// The setting realm of the server, which the hash holds as well
    #[arg(long, value_name = "NAME", env = "RINGCASTER_REALM", default_value = "rtspserver")]
    pub(super) realm: String,
}

/// Options of `serve`.
#[derive(Clone, Debug, Default, Group)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) file: File,
    /// Folder of media files [default: `media` beside the configuration file, else the file's folder]
    #[arg(value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Driver of the sockets [default: auto]
    #[arg(long)]
    pub(super) backend: Option<Backend>,
    /// Serving threads; 0 is one per core [default: 0]
    #[arg(long, value_name = "N")]
    pub(super) shards: Option<u16>,
    /// Go to the background, with ./rtspserver.pid and rtspserver.log beside it unless other files are named
    #[arg(long)]
    pub(super) daemon: bool,
    /// Write the process number to FILE and refuse to run twice with it
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    /// Log to FILE, rotated by size, instead of the standard error
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
    /// How log lines look [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<Format>,
    /// This process was started by --daemon.
    #[arg(long, hide = true)]
    pub(super) daemon_child: bool,
}

/// Options of `check`.
#[derive(Clone, Debug, Default, Group)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) file: File,
    /// Say who owns this path or URL and which <output> is for it
    #[arg(long, value_name = "PATH")]
    pub(super) url: Option<String>,
}

/// Options of `devices`.
#[derive(Clone, Debug, Default, Group)]
pub(super) struct Devices {
    #[command(flatten)]
    pub(super) file: File,
}

/// The configuration file.
#[derive(Clone, Debug, Default, Group)]
pub(super) struct File {
    /// Configuration file [default: the first of rtspserver.xml, rtspserver.cfg, config.xml here]
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// Values of `--backend`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Backend {
    /// io_uring where the kernel allows it, else the fallback
    Auto,
    /// io_uring, or no start
    Uring,
    /// Portable sockets
    Fallback,
}

/// Values of `--log-format`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl Serve {
    /// What the command line and the environment say about settings.
    pub(super) fn overrides(&self) -> Overrides {
        let word =
            |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_string());
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let options = [
            ("media_dir", path(&self.dir)),
            ("backend", self.backend.and_then(|backend| word(backend.to_possible_value()))),
            ("shards", self.shards.map(|shards| shards.to_string())),
            ("log_file", path(&self.log_file)),
            ("log_format", self.log_format.and_then(|format| word(format.to_possible_value()))),
        ];
        let command_line =
            options.into_iter().filter_map(|(key, text)| text.map(|text| (key, text))).collect();
        Overrides { environment: environment(), command_line, is_confined: false }
    }
}

/// The environment as text; what is not UTF-8 cannot be a setting.
pub(super) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_options_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn serving_needs_no_word() {
        let args = Args::try_parse_from(["rtspserver", "-c", "a.xml", "--shards", "3", "videos"]).unwrap();
        assert!(args.command.is_none());
        let overrides = args.serve.overrides();
        assert_eq!(
            overrides.command_line,
            [("media_dir", "videos".to_string()), ("shards", "3".to_string())],
        );
    }

    #[test]
    fn every_word_of_the_contract_is_understood() {
        for line in [
            "rtspserver serve --backend uring videos",
            "rtspserver --backend auto --log-format json --daemon",
            "rtspserver check -c a.xml --url /clip.mp4",
            "rtspserver probe",
            "rtspserver hash-password admin --realm gate",
            "rtspserver service install -c a.xml --account LocalSystem videos",
            "rtspserver service uninstall",
            "rtspserver service run --log-file a.log videos",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        assert!(Args::try_parse_from(["rtspserver", "--backend", "epoll"]).is_err());
    }
}
