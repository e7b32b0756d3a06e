VARIANTS = {}
def check(): pass
