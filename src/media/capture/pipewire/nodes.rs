//! Which microphones does PipeWire know?

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use pipewire::Error;
use pipewire::context::ContextRc;
use pipewire::core::PW_ID_CORE;
use pipewire::main_loop::MainLoopRc;
use pipewire::registry::GlobalObject;
use pipewire::spa::utils::dict::DictRef;
use pipewire::types::ObjectType;

use super::has_daemon;

/// How long the daemon may take to say what there is.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Kinds of nodes that hear: hardware, and what programs have made.
const CLASSES: [&str; 2] = ["Audio/Source", "Audio/Source/Virtual"];

/// A microphone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// The daemon's number for it.
    pub(super) id: u32,
    /// What it is opened by, the same after a restart.
    pub(super) name: String,
    /// What people call it.
    pub(super) description: String,
}

/// All microphones in the order of their names, or why they cannot be listed.
pub(super) fn microphones() -> Result<Vec<Node>, String> {
    if !has_daemon() {
        return Err("PipeWire does not run".to_owned());
    }
    pipewire::init();
    let found = look().map_err(|error| format!("PipeWire does not answer: {error}"))?;
    let mut found = found.ok_or_else(|| "PipeWire does not answer".to_owned())?;
    found.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    Ok(found)
}

/// Runs PipeWire's loop until the daemon has said all; None when it has not.
fn look() -> Result<Option<Vec<Node>>, Error> {
    let main_loop = MainLoopRc::new(None)?;
    let context = ContextRc::new(&main_loop, None)?;
    let core = context.connect_rc(None)?;
    let registry = core.get_registry_rc()?;
    let (found, is_complete) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(false)));
    let _globals = registry
        .add_listener_local()
        .global({
            let found = found.clone();
            move |global| found.borrow_mut().extend(microphone(global))
        })
        .register();
    // What is done behind the registry is done with it.
    let last = core.sync(0)?;
    let _answers = core
        .add_listener_local()
        .done({
            let (main_loop, is_complete) = (main_loop.clone(), is_complete.clone());
            move |id, sequence| {
                if id == PW_ID_CORE && sequence == last {
                    is_complete.set(true);
                    main_loop.quit();
                }
            }
        })
        .error({
            let main_loop = main_loop.clone();
            move |_, _, _, _| main_loop.quit()
        })
        .register();
    let end = main_loop.clone();
    let timer = main_loop.loop_().add_timer(move |_| end.quit());
    timer.update_timer(Some(ANSWER_MAX), None).into_result()?;
    main_loop.run();
    let found = found.take();
    Ok(is_complete.get().then_some(found))
}

fn microphone(global: &GlobalObject<&DictRef>) -> Option<Node> {
    let properties = global.props.filter(|_| global.type_ == ObjectType::Node)?;
    let class = properties.get("media.class")?;
    if !CLASSES.contains(&class) {
        return None;
    }
    let name = properties.get("node.name")?.to_owned();
    let description = properties.get("node.description").or_else(|| properties.get("node.nick"));
    let description = description.unwrap_or("a microphone").to_owned();
    Some(Node { id: global.id, name, description })
}
