//! Landlock: the kernel refuses to open what is not below the folders of [`Reach`].

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};

use super::Confined;
use super::reach::Reach;
use crate::config::Loaded;

/// The newest rights that are asked for; older kernels know fewer, and are asked for those.
const RIGHTS: ABI = ABI::V5;

/// Confines this thread and all that it starts from here on, for good. `pid_file` is removed at the end.
///
/// Errors: the settings want it and the kernel cannot, in a sentence.
pub fn confine(loaded: &Loaded, pid_file: Option<&Path>) -> Result<Confined, String> {
    let settings = &loaded.settings;
    if settings.landlock == Some(false) {
        return Ok(Confined::Off);
    }
    let reach = Reach::of(loaded, pid_file);
    let why = match restrict(&reach) {
        Ok(RulesetStatus::NotEnforced) => "this kernel has none".to_owned(),
        Ok(_) if reach.reads_all => return Ok(Confined::InWriting),
        Ok(_) => return Ok(Confined::ToItsFolders),
        Err(error) => error.to_string(),
    };
    match settings.landlock {
        Some(true) => Err(format!("landlock is 1, which cannot be had ({why}): set it to auto or 0")),
        _ => Ok(Confined::Unable(why)),
    }
}

fn restrict(reach: &Reach) -> Result<RulesetStatus, RulesetError> {
    let all = AccessFs::from_all(RIGHTS);
    let files: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let programs = files | AccessFs::Execute;
    let devices = files | AccessFs::WriteFile | AccessFs::IoctlDev;
    // What programs make in their own folders; no device files, and nothing to run.
    let own = files
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSock
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let everything = reach.reads_all.then_some("/");
    let ruleset = Ruleset::default()
        .handle_access(all)?
        .create()?
        .add_rules(path_beneath_rules(everything, files))?
        .add_rules(path_beneath_rules(&reach.programs, programs))?
        .add_rules(path_beneath_rules(&reach.read, files))?
        .add_rules(path_beneath_rules(&reach.devices, devices))?
        .add_rules(path_beneath_rules(&reach.own, own))?
        .add_rules(path_beneath_rules(&reach.removed, AccessFs::RemoveFile))?;
    Ok(ruleset.restrict_self()?.ruleset)
}
