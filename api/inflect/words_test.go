package inflect

// words are English words, chosen for their endings.
const words = `
account action activity actor address admin advice agency agent agenda album alert algorithm alias ally alumnus analysis angle animal answer ant
apex apparatus appendix apple application appointment archive area arena army arrow article artist aspect asset atlas attachment audio author avatar axe axis
baby bacterium badge bag balance ball band bank banner bar base basis basket batch bath battery beach bean bear bed belief bench berry bet bicycle bike bill
bird birthday blog board boat body bonus book boss bottle box boy branch brand bread breakfast bridge brush bucket budget buffalo bug building bus bush
business button buzz cab cache cactus cafe cake calculus calendar calf camera campaign campus candy canvas car card care cargo carpet case cash cat catalog
catch category cause cave cell census center chain chair chance channel chapter character chart chassis chat check chef chief child chip choice church circle
circus citizen city class clause client cliff clip clock cloth club clue coach coat code codex coffee coin collection college color comedy comment commit
committee company complex computer concept condition conference config connection contact content contest context copy corps cost country county couple coupon
course cousin cow craft crisis criterion crop cross crowd cry cup currency curriculum customer cycle dad dance dash data database date day deal death debt
decade decision deer degree delivery demo deposit depot desk device diagnosis diary die diet digit dinner diploma disco discount discus disease dish disk dog
dollar domain donkey door draft drama drawer dream dress drink drive drug duty dwarf eagle ear echo economy edge edit effect egg elf elk ellipsis email embassy
embargo emphasis employee enemy energy engine entry enzyme equipment era error essay estate event evidence example excess exchange exercise exit expense expert
eye face fact factory family fan farm fax feature fee feedback feed fellow fence festival fez field file film filter fish fix flag flash flat flight floor
flow flower flu fly focus folder food foot force forecast forest fork form formula forum fox frame friend fruit fuel fungus fuse fusion galaxy gallery game
gap garage garden gas gate gateway gear gem genius genre genus ghost gift giraffe girl glass glitch globe glove goal goose government grade graph grass grocery
ground group grove guess guest guide gulf guy gym habit half hall halo hand harness hash hat hazard head health heart heat hedge hero hex hierarchy hive hobby
hoax holiday home hoof horse hospital host hotel hour house human hypothesis ice icon idea identity image impact inbox income index industry info information
inquiry insect instance institute intro invoice island issue item jacket jersey jet job jockey journal journey judge juice jury kangaroo key kid kidney king
kiss kitchen knife knight label lake language larva lash latch law layer leaf league lease leg lemma lens lesson letter level library license lid life light like
line link list loaf loan lobby location lock log logo loss lottery louse love lunch lynx machine magazine mango map march mark market mass master match matrix
matter meal measure media medium meeting member memo menu mess message metro mile milk mind mine minute mirror miss mission mix mobile model module money monkey
month mood moose morning mosquito moth mother motto mouse mouth move movie mummy murder muscle museum music mystery name nation navy nebula neck need nephew
nerve nest network news night nodejs node noise note notice novel nucleus number nurse oasis object ocean octopus offer office oil olive onion opera opinion option
orange order ox owner oxen pace pack package page paint pair panel paper paragraph parent parenthesis park parse part party pass passenger patch path pattern pause
payment peach pen penny people period person phase phenomenon phone photo phrase piano picture pie piece pig pilot pitch pizza place plan plane planet plant plate
play player plaza plus poem poet point policy pony pool portfolio post potato pound prefix premise press price prize process product prognosis program progress
project proof property prospectus province proxy pub pulse puppy purchase purse quantity quarter queen query quest queue quiz quota race radio radius radix rain
range rate ratio ray reaction recipe record referendum reflex region regex relative release remedy report reply rescue reserve residence resource response rest
result review rhino rice ride ring river road rock role roof room rose route row rule sale salary salmon sample sandwich sauce scarf schedule schema school
science scissors score scratch screen sea search season seat second secret section segment self sense sensor series servant serve server service session set sex
shape share shark sheep sheet shelf ship shirt shoe shop show shrimp sibling side sign signal silo sister site size sketch skill sky slave sleeve slot smash snake
snow society software solo song sound soup source space species spectrum speech spice spy squad square stadium staff stage stamp star state station status stay
step stimulus stock stomach stop storage store story street stress strategy studio study style subject success suffix suite summary summit sun supply surface survey
swatch swiss switch syllabus symbol symposium synopsis syntax system table tag talk tank task tax taxi teacher team technology tempo tenant term terminus test thesis
thief thing thought ticket tie tiger time title toe tomato tooth topic torch torpedo tour town toy track trade trail train trainer tray treasury treaty tree trial
tribe trip truck trunk try tube turf turkey tv twelve twist type uncle union unit universe university use user valley value valve van variety vase vector vehicle
vendor venue verse version vertex veto via video view village virus visit vitamin voice volcano vortex vote voucher wage waitress wall war warehouse wash watch
water wave way weather web week weight wharf wheel wife wind window wine wing wish witch wolf woman wood word work world worry wrench wrist writer x-ray yacht year
yes zebra zero zone zoo`
