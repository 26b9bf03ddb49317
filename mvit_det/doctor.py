def explain_detectron2(e): return str(e)
