mod forms;
mod random;
