"""Bread, soup and burnt onions."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Does {soup|stew|chilli} really taste better after a night in the {larder|pot|cold}?",
        "What saves a {sauce|broth|curry} that came out too {salty|sour|thin}?",
        "Would you put {nutmeg|cumin|cardamom} into {mashed potatoes|rice pudding|lentils}?",
        "Why does my {sourdough|rye bread|focaccia} come out so {dense|pale|flat}?",
        "Is a {cast iron|copper|clay} pan worth the fuss for {pancakes|onions|eggs}?",
        "What goes with {beetroot|fennel|parsnips} besides {butter|walnuts|goat cheese}?",
        "Do you rinse {rice|lentils|mushrooms} or is that a superstition?",
        "How do I stop {milk|porridge|jam} from sticking to the bottom?",
        "Can {stale bread|wilted spinach|bruised apples} still become something nice?",
        "Is there a trick against tears when chopping {onions|shallots|horseradish}?",
        "Is {porridge|a pancake|an omelette} the right breakfast for a {grey|frosty|lazy} morning?",
        "What makes {meringue|custard|mayonnaise} curdle, impatience or heat?",
    ),
    tells=(
        "The kitchen smells of {cinnamon|garlic|roasted peppers}, and nobody complains.",
        "I burnt the {onions|toast|caramel} while humming along to something.",
        "The {dough|batter|pastry} rested longer than I did.",
        "My aunt stirs {polenta|risotto|marmalade} with a wooden spoon older than me.",
        "We ate {dumplings|noodles|pierogi} until the pot was empty and the windows fogged up.",
        "The {kettle|oven|toaster} whistles, groans and works.",
        "I have learnt to wait until the {butter|oil|syrup} foams.",
        "There is a jar of {pickled plums|capers|anchovies} at the back that nobody dares to open.",
        "A pinch of {salt|saffron|paprika} did more than the whole recipe.",
        "The {knife|peeler|grater} is sharp again, and so are my fingertips.",
        "Leftover {rice|potatoes|cabbage} turned into the best supper in ages.",
        "I like {lemons|limes|ginger} in nearly everything, sweet or not.",
    ),
)
