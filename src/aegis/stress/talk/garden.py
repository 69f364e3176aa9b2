"""Plants, soil and patience."""

from aegis.stress.talk import Domain

domain = Domain(
    asks=(
        "Do {tomatoes|peppers|cucumbers|aubergines} like a {windy|shady|damp} corner, or should I spare them that?",
        "Is it true that {basil|mint|sage|thyme} keeps {aphids|whiteflies|snails} away?",
        "My {roses|dahlias|lilies|peonies} droop by {noon|evening}. Is that thirst or just the heat?",
        "Would you grow {ivy|jasmine|grapes|hops} along a {sunny|shaded|crumbling} wall?",
        "How deep do you bury {tulip|daffodil|crocus|hyacinth} bulbs in {heavy|sandy|stony} soil?",
        "Someone swears by {coffee grounds|eggshells|wood ash|seaweed} for {roses|ferns|berries}. Old wives' tale?",
        "Would a {hedgehog|toad|robin} really eat the slugs in a {tiny|walled|wild} garden?",
        "Which {herb|fern|moss} forgives a gardener who forgets to water it?",
        "Is {moss|clover} in a lawn a bad sign, or can I simply enjoy it?",
        "Do {sunflowers|hollyhocks|foxgloves} need a stake when it gets {gusty|stormy}?",
        "Why do the leaves of my {lemon tree|fig tree|olive tree} turn {yellow|brown|pale} at the edges?",
        "Can {strawberries|raspberries|currants} grow in a {bucket|barrel|window box}?",
    ),
    tells=(
        "The {tomatoes|peppers|beans} are slow, but the {courgettes|pumpkins|radishes} make up for it.",
        "I spent the morning pulling {nettles|thistles|bindweed} out of the {gravel|rockery|hedge}.",
        "The compost smells of {rain|mushrooms|autumn leaves} now, which the neighbour calls progress.",
        "A {blackbird|hedgehog|snail} has moved in behind the {shed|water butt|rhubarb}.",
        "My grandmother grew {gooseberries|rhubarb|quinces} and never read a line about it.",
        "The {lavender|rosemary|sage} hums with bees from breakfast until dusk.",
        "I mulched with {straw|bark|leaves} and the soil has stayed {soft|cool|damp} ever since.",
        "The {wisteria|honeysuckle|clematis} has eaten half of the {fence|porch|trellis}.",
        "Nothing smells like a {greenhouse|potting bench|hedge} after a {warm|thundery} shower.",
        "The {rake|spade|watering can} leaks or squeaks, and I am fond of it anyway.",
        "Somebody gave me {dahlia|iris|fern} cuttings wrapped in damp newspaper.",
        "The moles treat the lawn as {a drum|a playground|their own}.",
    ),
)
