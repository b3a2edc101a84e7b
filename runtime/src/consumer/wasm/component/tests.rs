//! Each kind of file that is not a consumer, with the words that an operator reads.
