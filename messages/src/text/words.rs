//! The words of the model, by the place they take in a sentence.
//!
//! Each class is one string of words, each followed by a digit: a word with digit `n` is expected
//! `2^n` times as often as one with digit 0. A word is in one class only.

/// Ends the text.
pub(crate) const END: usize = 0;
/// A word that is spelled out follows.
pub(crate) const SPELLED: usize = 1;
/// The next word begins with a capital letter.
pub(crate) const CAPITAL: usize = 2;
/// Joins the word before it without a space.
pub(super) const MARKS: usize = 3;
/// Whole sentences.
pub(crate) const SENTENCES: usize = 4;

/// The number of classes.
pub(crate) const COUNT: usize = CLASSES.len();

/// What the published model says when nothing changed, and the like; each is one symbol, and only
/// at the start of a text.
pub(super) const WHOLE: [&str; 8] = [
    "there is no difference",
    "the two scenes seem identical",
    "the scene is the same as before",
    "no change has occurred",
    "almost nothing has changed",
    "there are no changes in roads or buildings",
    "yes",
    "no",
];

pub(super) const CLASSES: [&str; 51] = [
    "",
    "",
    "",
    ".7 ,8 ?6 !1 :3 ;2",
    "",
    // 5
    "a9 an4",
    "the9 this4 that2 these2 those1 its3 their3 both7 each3 another4 either3 every1 any4 all4",
    "some9 many8 several7 few4 more6 most3 numerous3 various2 multiple3 lots6 plenty1 other5 additional3 extra2 fewer2 less2",
    "two8 three7 four6 one6 five4 six3 seven2 eight2 nine1 ten2 half5 dozen1",
    "is9 are9 was3 were3 be2",
    // 10
    "has8 have7 had2",
    "been9",
    "of9",
    "in9",
    "on9",
    // 15
    "at9",
    "to8",
    "with8 without2",
    "by8 from4 for3 into7 as5 like1 out3 up6 down4 off2",
    "along8 beside7 near7 around7 across5 between5 among5 alongside4 above4 below4 behind3 through4 next5 inside2 outside2 under3 over2 besides2 within1 opposite2 amid1 towards2 toward1",
    // 20
    "and9 or4 but2 while3 which2 where3 then1 also2 with0 so0 than1 because0",
    "there8",
    "no5 not3 none1 nothing3 almost3 only3 nearly1 about1 very2",
    "house6 building7 villa5 hut2 home2 cottage2 mansion4 bungalow4 factory4 warehouse4 shed2 garage2 school1 tower3 mall4 structure4 construction5 complex5 block4 plant3 hangar1 greenhouse1 stadium3 roof3 room4 church1 barn1 apartment1 facility1 court3 playground4 pavilion2 longhouse2 depot1 garden2 yard3 bridge3 viaduct3 tank3 platform2 pool5 foundation3 fence1 wall1",
    "houses9 buildings8 villas7 huts2 homes2 cottages2 mansions4 bungalows4 factories3 warehouses3 sheds2 garages2 schools1 towers2 malls3 structures4 constructions4 complexes3 blocks4 plants5 greenhouses1 stadiums1 roofs2 rooms4 churches1 barns1 apartments1 facilities3 courts2 playgrounds3 pavilions1 longhouses2 depots2 gardens2 yards2 bridges2 viaducts3 tanks4 pools4 foundations2 fences0 walls0 containers3 ones5 others3",
    // 25
    "road9 path6 street5 crossroad6 crossroads4 lane3 highway2 track4 roundabout3 bypass4 intersection3 junction2 trail3 route1 avenue1 driveway1 footpath2 branch4 crossing4 roadside5 t-junction3 runway1 railway1 canal1 overpass2",
    "roads8 paths5 streets3 lanes2 highways1 tracks3 roundabouts2 bypasses2 intersections2 junctions1 trails3 routes0 avenues0 driveways1 footpaths1 branches3 crossings2 roadsides3 overpasses2 railways0 canals0",
    "bareland8 woods7 forest7 desert6 grass6 vegetation6 wasteland6 meadow6 grassland5 woodland5 clearing5 ground5 land5 field4 lawn2 soil1 sand1 moorland3 jungle3 pasture3 farmland2 lake5 river3 pond3 water4 hill2 mountain2 shore1 bank2 sea1 dirt4 wood4 reservoir3 tree3 bush1 wilderness1 countryside1 earth2 mound1 hole2 orchard1",
    "trees8 bushes5 forests4 fields3 meadows3 lakes2 ponds2 hills1 woodlands2 shrubs4 crops1 deserts1 lands1 rivers1 grasslands1 barelands2 wastelands2 mounds3 flowers1 cars5 vehicles4 trucks3 buses2 boats1 ships1 boxes2 people1 objects2",
    // 30 follows the next two
    "scene7 area8 place5 site5 lot8 space6 land0 region2 picture4 image4 image0 square6 part5 side8 corner8 center6 middle6 edge6 end5 front4 top7 bottom7 left7 right7 line5 row7 group5 level3 point2 floor3 district3 village3 town2 city2 park4 block0 location2 cluster3 piece3 number3 quantity3 width2 shape2 angle3 screen4 ring4 circle4 arc4 turn4 bend1 quarter2 rest2 distance2 network1 zone1 neighborhood1 community1 estate1",
    // 30
    "scenes5 areas4 places3 sites3 lots6 spaces2 sides8 corners3 edges1 ends1 rows7 lines5 groups3 parts3 squares3 clusters1 locations1 pieces1 districts1 parks1 rings2 circles1 directions2 images3 pictures3",
    "new7 old5 large7 small7 big5 huge5 giant4 massive6 long5 short1 wide5 narrow4 high2 higher3 low1 lower5 upper6 main5 original7 former5 existing5 nearby4 neat5 straight5 winding5 curved4 circular4 round4 square0 rectangular2 dense4 denser2 sparse5 lush5 green4 white4 red3 blue2 gray2 grey1 black2 yellow2 brown2 dark1 bright1 bare4 open6 detached6 separate4 single4 whole2 similar2 different2 same5 identical5 different0 vacant3 empty2 abandoned3 unfinished2 finished0 vertical5 horizontal3 parallel4 central3 tall1 flat2 lined3 residential7 industrial3 commercial2 parking8 swimming5 tennis2 basketball3 football1 cement5 concrete5 asphalt4 storage4 paved1 dry2 wooden1 intersecting4 larger3 smaller3 bigger3 wider3 longer3 greener2 lusher3 medium3 certain3 unsurfaced3 rugged2 uneven2 brand2 solar1 construction0 urban1 rural1",
    "t-shaped6 u-shaped2 l-shaped2 cross6 s-shaped1 y-shaped1 x-shaped1 lower-right6 lower-left6 upper-right5 upper-left5 top-left4 top-center3 top-right4 center-left3 center-center3 center-right3 bottom-left4 bottom-center3 bottom-right4",
    "neatly7 newly6 closely3 densely3 mostly1 partly1 completely2 greatly3 orderly3 well3 much3 now2 already1 still1 again1 horizontally2 vertically2 compactly2 together1 regularly1 respectively1 here1 away1 instead2 forward2 apart1 nearly0",
    "built9 constructed8 removed7 erected4 completed5 rebuilt5 developed5 added5 demolished4 cleared4 planted4 replaced6 reconstructed4 cut4 leveled3 extended4 widened4 expanded3 renovated3 paved2 destroyed2 established2 formed3 turned4 filled3 covered3 finished4 changed6 converted2 transformed3 reduced2 torn1 dug1 razed0 moved2 opened1 closed1 enlarged2 increased3 decreased3 restored3 occupied2 connected5 joined2 surrounded5 located5 arranged7 scattered5 distributed4 situated4 parked4 attached3 divided3 spaced3 separated1 lost1 made1 set1 visible2 dried2 withered3 grown4 gone2 placed2 put2 taken2 shown1 noticed0 found2 detected2 observed1 seen1 reshaped3 flattened2 shrunk2 risen2",
    // 35
    "appear8 disappear6 appears8 disappears6 appeared7 disappeared5 vanish3 vanishes3 vanished4 show5 shows5 emerge2 emerges1 emerged2 exist2 exists1 grow4 grows3 stand3 stands1 occurred4 occur2 occurs1 remain2 remains2 increase2 increases2 decrease2 decreases3 extend3 extends4 turn0 turns4 widens3 expand2 expands2 rise2 rises2 run4 runs5 stretch2 stretches2 come1 comes2 lie2 lies2 changes6 change6 seem4 seems3 look2 looks2 fades2 leads2 continue1 continues2 converge3 intersect2 develops2 spread1 located0",
    "replace6 replaces5 become5 becomes6 surround3 surrounds2 connect3 connects3 join5 joins2 fill3 fills1 cover2 covers2 cross0 crosses2 divide2 divides1 make2 makes1 take2 takes2 form2 forms1 contain2 contains1 include1 includes1 cut0 leave1 leaves1 add1 adds1 build3 builds0 use1 need0 lead1 occupy1 occupies1",
    "replacing5 surrounding5 connecting3 leading4 running3 turning5 going3 intersecting0 crossing0 consisting2 growing2 appearing2 including2 facing2 playing2 covering1 remaining2 missing2 curving2 standing1 stretching1 becoming1 joining1 lying1 passing1 extending1 under0",
    "it6 them6 they4 we1 i2 you3 he0 she0 us0 me1 him0 her0 his0 my0 our0 your0 itself1 itself0",
    "what6 how6 who1 why2 when2 whether3 does4 do5 did4 can4 could2 would2 will2 should1 may2 might2 must1 please5 if4",
    // 40
    "describe5 judge3 determine3 indicate3 count4 list3 tell3 give3 say1 answer3 show0 compare2 identify2 locate2 briefly3 detail4 based2 happened5 happen3 kind2 type3 size2 color1 difference5 differences4 analysis2 question1 questions0 vicinity0 yes5 new0 roads0",
    "before6 after5 since1 during1 until0 once1 ago0 earlier2 later2 first3 last1 time2 date1 year1 month1 day1 week0 today0 now0",
    "05 17 26 35 45 54 64 73 83 93 104 113 123 132 142 153 162 171 181 191 203 252 302 401 502 1002",
    "a0 north3 south3 east3 west3 northeast1 northwest1 southeast1 southwest1 northern2 southern2 eastern2 western2",
    "lot0 percent1 meters2 meter1 m1 km1 pixels1 square0 feet0 inches0",
    // 45
    "file3 cannot2 found0 read2 unreadable2 truncated2 damaged2 too3 size0 format2 error3 unsupported2 decode1 bytes2 png2 jpg2 jpeg1 tiff2 tif1 before.png2 after.png2",
    "good1 bad1 fire2 smoke2 flood2 flooded2 burned2 cloud2 clouds3 cloudy2 shadow2 shadows2 snow2 ice1 seasonal2 season2 light1 lighting1 damage2 landslide1 debris1 collapsed2 mine1 quarry1 pipeline1 dam1 camp1 tents1 tent1 vehicle2 car3 truck1 ship1 boat1 airplane1 plane1 helicopter0",
    "because0 although0 however1 therefore0 thus0 just1 even1 too0 really0 perhaps1 maybe1 probably2 likely2 possibly2 clearly2 slightly2 significantly2 mainly1 especially0",
    "go1 see2 know0 think0 want1 get1 got0 being2 having1 doing0 using1 against0 per1 via0 such1 own0 same0 rather0 quite1 enough0 far1 close1 left0",
    "answer0 pair3 pairs1 tile3 tiles1 grid3 cell2 cells2 model1 confidence2 alert2 alerts1 change0 map1 mask1",
    "zero1 eleven0 twelve0 hundred0 thousand0 second1 third1 fourth0 twice0",
];
