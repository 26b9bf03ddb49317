"""What tools/train_net.py reads besides the model, the data, the optimiser and the schedule."""

train = dict(
    output_dir="./output",
    init_checkpoint="",
    # Steps, periods and optimizer.lr stand for this many pictures a step. With another
    # dataloader.train.total_batch_size they are scaled, but for those given on the command line.
    reference_batch_size=64,
    scale_to_batch=True,
    max_iter=67_500,  # 36 epochs: 67,500 steps * 64 pictures / 118,000 pictures = 36.6
    eval_period=5000,
    checkpointer=dict(period=5000, max_to_keep=2),  # besides the best, model_best.pth
    best_metric="bbox/AP",
    log_period=20,
    seed=0,  # below 0: another one in each run
    device="cuda",
    amp=dict(enabled=True, precision="fp16"),  # or bf16
    accumulate=1,  # parts in which a process works through its share of a step, to save memory
    clip_norm=None,  # limit on the norm of the gradient
    ema=dict(enabled=False, decay=0.9998),  # evaluate and keep an average of the weights
    compile=False,  # torch.compile the backbone
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False, fp16_compression=True),
)
