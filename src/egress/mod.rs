//! What leaves next for one viewer: its numbering, its transport, its reports.

pub mod heads;
pub mod numbering;
pub mod protection;
pub mod track;
