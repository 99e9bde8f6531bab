//! Each rule of tasks, and any arrival.
