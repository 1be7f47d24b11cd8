//! The comparison's own tests. They run the program from outside, against servers that are correct,
//! slow, or broken in a known way.

mod check;
mod fixture;
mod load;
mod readme;
mod report;
mod run;
mod support;
