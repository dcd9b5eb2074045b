"""A training as data: what it did, what it is, and the folder it goes on from.

run_dir/settings.json        what is trained: the model, the batches, the text, the optimizer
run_dir/checkpoint-*.npz     the two newest states of the whole training, to the bit
run_dir/best.keras           the model with the weights of the best epoch so far
run_dir/history.json         one record an epoch
run_dir/lock                 who is training here just now
run_dir/.earlier-*/          the run that this one is to replace, until it has finished

No module here needs Keras but `snapshots`.
"""
