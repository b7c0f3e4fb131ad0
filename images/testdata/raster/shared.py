def about():
    return "shared"
