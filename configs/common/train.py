"""The settings of tools/train_net.py besides model, data, optimizer and schedule."""

train = dict(
    output_dir="./output",
    init_checkpoint="",
    # max_iter, the periods and optimizer.lr are for this number of images per step. They are scaled to
    # dataloader.train.total_batch_size, except for those that are set on the command line.
    reference_batch_size=64,
    scale_to_batch=True,
    max_iter=67_500,  # 36 epochs: 67,500 steps * 64 images per step / 118,000 images = 36.6
    eval_period=5000,
    checkpointer=dict(period=5000, max_to_keep=2),  # not counting model_best.pth and model_final.pth
    best_metric="bbox/AP",
    patience=None,  # number of evaluations without a better best_metric after which the run ends; None: never
    log_period=20,
    logger=None,  # also log to an experiment tracker: "wandb" or "mlflow"
    seed=0,  # a negative seed is replaced by a random one
    device="cuda",
    amp=dict(enabled=True, precision="fp16"),  # or bf16
    eval_precision="float32",  # of --eval-only: auto, float32, bf16 or fp16
    accumulate=1,  # number of parts into which a process splits a batch to save memory
    clip_norm=None,  # maximum norm of the gradient; None for no limit
    ema=dict(enabled=False, decay=0.9998),  # moving average of the weights, which is evaluated and kept
    tta=dict(  # test-time augmentation, with --eval-only and in tools/visualize.py predict
        enabled=False,
        short_sides=[400, 500, 600, 700, 800, 900, 1000, 1100, 1200],  # px
        max_size=4000,  # px, of the long side
        flip=True,
    ),
    compile=False,  # compile the backbone with torch.compile
    ddp=dict(broadcast_buffers=False, find_unused_parameters=False, fp16_compression=True),
)
