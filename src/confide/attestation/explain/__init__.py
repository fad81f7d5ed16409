"""What evidence says, in words: fields, flags, chains, steps and states of a TCB. For people; decides nothing."""
