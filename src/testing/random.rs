//! Random acts of several people in bad weather.
