//! The machine from outside: stories of jobs told through commands and plans, with every invariant checked on the way.

mod attempts;
mod attempts_at_once;
mod checker;
mod claims;
mod clean_up;
mod copied;
mod counted;
mod damage;
mod events;
mod explain;
mod flows;
mod kept;
mod late_writes;
mod limits;
mod publication;
mod restore;
mod scenarios;
mod scenarios_of_collection;
mod scenarios_of_submits;
mod scenarios_of_workers;
mod story;
mod submits;
mod targets;
mod verification;
mod workers;
