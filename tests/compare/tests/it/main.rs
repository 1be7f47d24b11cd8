//! The comparison's own tests: from outside, by the program, against servers that are right, slow
//! or broken in a known way.

mod check;
mod fixture;
mod load;
mod report;
mod run;
mod support;
