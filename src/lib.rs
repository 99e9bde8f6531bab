//! LBM.
pub mod cbor;
<<<<<<< HEAD
pub mod chain;
=======
pub mod cli;
pub mod datadir;
>>>>>>> h1
pub mod identity;
pub mod kv;
pub mod ledger;
pub mod limits;
pub mod node;
pub mod wire;
