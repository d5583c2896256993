"""Writes cameras/*.jpg: one generated picture, tagged as the makers tag theirs, and what a right reader says of each.

Usage: python make_cameras.py   (needs Pillow, and exiftool: Debian libimage-exiftool-perl)

XMP packets are written whole, in the form (attributes, elements, structures) that each maker uses.
"""
import json
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).with_name("cameras")
HERE.mkdir(exist_ok=True)
for old in HERE.iterdir():
    old.unlink()
index = []

DJI = "http://www.dji.com/drone-dji/1.0/"
PIX4D = "http://pix4d.com/camera/1.0/"
SENSEFLY = "http://ns.sensefly.com/Camera/1.0/"
PARROT = "http://www.parrot.com/drone-parrot/1.0/"
SKYDIO = "https://www.skydio.com/drone-skydio/1.0/"
AUTEL = "http://www.autelrobotics.com/drone/1.0/"


def packet(namespaces, attributes="", elements=""):
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in namespaces.items())
    return (f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
            f'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" {declared} {attributes}>'
            f'{elements}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>')


def dji(**fields):
    return packet({"drone-dji": DJI}, " ".join(f'drone-dji:{key}="{value}"' for key, value in fields.items()))


def camera(uri, **fields):
    return packet({"Camera": uri}, elements="".join(f"<Camera:{key}>{value}</Camera:{key}>" for key, value in fields.items()))


def save(name, expected, xmp=None, size=(64, 48), **tags):
    path = HERE / f"{name}.jpg"
    image = Image.new("RGB", size)
    image.putdata([((x * 4) % 256, (y * 5) % 256, (x * y) % 256) for y in range(size[1]) for x in range(size[0])])
    image.save(path, quality=60)
    arguments = [f"-{tag}={value}" for tag, value in tags.items()]
    with tempfile.NamedTemporaryFile("w", suffix=".xmp", encoding="utf-8") as file:
        if xmp:
            file.write(xmp)
            file.flush()
            arguments.append(f"-xmp<={file.name}")
        subprocess.run(["exiftool", "-q", "-n", "-overwrite_original", "-api", "Compress=0", *arguments, str(path)], check=True)
    index.append(dict(name=name, **expected))


def gps(lat, lon, alt=None, below=False):
    tags = dict(GPSLatitude=abs(lat), GPSLatitudeRef="S" if lat < 0 else "N", GPSLongitude=abs(lon), GPSLongitudeRef="W" if lon < 0 else "E")
    if alt is not None:
        tags.update(GPSAltitude=abs(alt), GPSAltitudeRef=1 if below else 0)
    return tags


UTC = dict(GPSDateStamp="2024:06:01", GPSTimeStamp="10:20:30.5")
TIME = "2024-06-01T10:20:30.500Z"

# Five makers, each in its own way.
save("dji", dict(lat=46.8428646, lon=-91.9936967, altitude=198.41, relative=39.9, yaw=220.0, pitch=-89.9, roll=0.0, time=TIME),
     dji(AbsoluteAltitude="+198.41", RelativeAltitude="+39.90", GpsLatitude="46.8428646", GpsLongtitude="-91.9936967",
         GimbalRollDegree="+0.00", GimbalYawDegree="-140.00", GimbalPitchDegree="-89.90", FlightYawDegree="-138.70",
         FlightRollDegree="-4.00", FlightPitchDegree="-0.10"),
     Make="DJI", Model="FC300S", FocalLength=3.61, FocalLengthIn35mmFormat=20, **gps(46.84286, -91.99370, 198.41), **UTC)
save("dji_rtk", dict(lat=47.123456789, lon=8.987654321, altitude=512.345, relative=80.0, yaw=12.3, pitch=-90.0, roll=0.0, accuracy=0.0142),
     dji(AbsoluteAltitude="+512.345", RelativeAltitude="+80.000", GpsLatitude="47.123456789", GpsLongitude="8.987654321",
         GimbalRollDegree="+0.00", GimbalYawDegree="+12.30", GimbalPitchDegree="-90.00", RtkFlag="50", RtkStdLon="0.01420",
         RtkStdLat="0.01330", CalibratedFocalLength="3666.67"), Make="DJI", Model="FC6310R", **gps(47.123456789, 8.987654321, 512.345))
save("autel_new", dict(lat=39.5, lon=-104.25, altitude=1650.2, relative=60.5, yaw=91.5, pitch=-89.5, roll=0.0),
     packet({"drone": AUTEL}, 'drone:AbsoluteAltitude="1650.20" drone:RelativeAltitude="60.50" drone:GpsLatitude="39.5000000" '
            'drone:GpsLongtitude="-104.2500000" drone:GimbalRollDegree="0.00" drone:GimbalYawDegree="91.50" drone:GimbalPitchDegree="-89.50" '
            'drone:FlightYawDegree="85.00"'), Make="Autel Robotics", Model="XT705", **gps(39.5, -104.25, 1650.2))
save("autel_old", dict(lat=39.5, lon=-104.25, altitude=1650.2, yaw=182.5, pitch=-88.0, roll=0.4),
     camera(PIX4D, Yaw=182.5, Pitch=2.0, Roll=0.4), Make="Autel Robotics", Model="XB004", **gps(39.5, -104.25, 1650.2))
save("autel_lite", dict(lat=39.5, lon=-104.25, yaw=182.5, pitch=-88.0, roll=0.0),
     camera(PIX4D, Yaw=182.5, Pitch=-88.0, Roll=0.0), Make="Camera", Model="XL715", **gps(39.5, -104.25))
save("parrot_sequoia", dict(lat=41.4291985, lon=-81.6058508, altitude=348.241, yaw=326.721, pitch=-87.71961, roll=-2.08752, accuracy=2.289, time=TIME),
     camera(PIX4D, Yaw=326.721, Pitch=2.28039, Roll=-2.08752, PerspectiveFocalLength=4.812073, GPSXYAccuracy=2.289, GPSZAccuracy=3.344),
     Make="Parrot", Model="Sequoia", **gps(41.42919847, -81.60585083, 348.241), **UTC)
save("parrot_anafi", dict(lat=48.8789, lon=2.3679, yaw=176.310745, pitch=-78.362686, roll=-0.322913),
     packet({"drone-parrot": PARROT, "Camera": PIX4D},
            elements="<drone-parrot:CameraRollDegree>-0.322913</drone-parrot:CameraRollDegree><drone-parrot:CameraPitchDegree>-78.362686</drone-parrot:CameraPitchDegree>"
            "<drone-parrot:CameraYawDegree>176.310745</drone-parrot:CameraYawDegree><drone-parrot:DroneYawDegree>170.1</drone-parrot:DroneYawDegree>"
            "<Camera:Yaw>176.3</Camera:Yaw><Camera:Pitch>11.6</Camera:Pitch>"),
     Make="Parrot", Model="Anafi", **gps(48.8789, 2.3679))
save("sensefly", dict(lat=46.5, lon=6.6, altitude=520.0, yaw=45.5, pitch=-85.0, roll=-3.0),
     camera(SENSEFLY, Yaw=45.5, Pitch=5.0, Roll=-3.0), Make="senseFly", Model="S.O.D.A.", **gps(46.5, 6.6, 520))
save("skydio_elements", dict(lat=37.5, lon=-122.3, altitude=30.5, relative=25.0, yaw=271.25, pitch=-88.75, roll=0.5),
     packet({"drone-skydio": SKYDIO}, elements="<drone-skydio:Latitude>37.50000000</drone-skydio:Latitude><drone-skydio:Longitude>-122.30000000</drone-skydio:Longitude>"
            "<drone-skydio:AbsoluteAltitude>30.5</drone-skydio:AbsoluteAltitude><drone-skydio:RelativeAltitude>25.0</drone-skydio:RelativeAltitude>"
            '<drone-skydio:CameraOrientationNED rdf:parseType="Resource"><drone-skydio:Yaw>-88.75</drone-skydio:Yaw><drone-skydio:Pitch>-88.75</drone-skydio:Pitch>'
            "<drone-skydio:Roll>0.5</drone-skydio:Roll></drone-skydio:CameraOrientationNED>"), Make="Skydio", Model="2", **gps(37.5, -122.3, 30.5))
save("skydio_attributes", dict(lat=37.5, lon=-122.3, yaw=271.25, pitch=-88.75, roll=0.5),
     packet({"drone-skydio": SKYDIO}, elements='<drone-skydio:CameraOrientationNED drone-skydio:Roll="0.5" drone-skydio:Pitch="-88.75" drone-skydio:Yaw="-88.75"/>'),
     Make="Skydio", Model="X2", **gps(37.5, -122.3))

# Traps that readers have fallen into.
save("trap_flight_yaw_only", dict(lat=46.5, lon=6.6, yaw=None, pitch=-90.0, problem="FlightYawDegree"),
     dji(GimbalPitchDegree="-90.00", FlightYawDegree="+33.00"), Make="DJI", **gps(46.5, 6.6))
save("trap_below_sea_level", dict(lat=31.5, lon=35.47, altitude=-423.5), Make="Canon", **gps(31.5, 35.47, 423.5, below=True))
save("trap_below_sea_level_xmp", dict(lat=31.5, lon=35.47, altitude=-423.5), dji(AbsoluteAltitude="-423.50"), Make="DJI", **gps(31.5, 35.47, 423.5, below=True))
save("trap_truncated_exif", dict(lat=46.84286461, lon=-91.99369667),
     dji(GpsLatitude="46.84286461", GpsLongtitude="-91.99369667"), Make="DJI", **gps(46.0 + 50 / 60 + 34 / 3600, -(91 + 59 / 60 + 37 / 3600)))
save("trap_exif_against_xmp", dict(lat=None, lon=None, problem="apart"),
     dji(GpsLatitude="46.84286461", GpsLongtitude="-91.99369667"), Make="DJI", **gps(48.1, 11.5))
save("trap_gimbal_roll_180", dict(lat=46.5, lon=6.6, yaw=210.0, pitch=-90.0, roll=0.0),
     dji(GimbalRollDegree="+180.00", GimbalYawDegree="+30.00", GimbalPitchDegree="-90.00"), Make="DJI", **gps(46.5, 6.6))
save("trap_orientation_6", dict(lat=46.5, lon=6.6, yaw=30.0, pitch=-90.0, relative=100.0, up=300.0),
     dji(GimbalRollDegree="+0.00", GimbalYawDegree="+30.00", GimbalPitchDegree="-90.00", RelativeAltitude="+100.0", CalibratedFocalLength="100"), Make="DJI",
     Orientation=6, **gps(46.5, 6.6))
save("trap_time_without_zone", dict(lat=46.5, lon=6.6, time=None, problem="time zone"), DateTimeOriginal="2024:06:01 12:20:30", **gps(46.5, 6.6))
save("trap_gps_time_wins", dict(lat=46.5, lon=6.6, time=TIME), DateTimeOriginal="2024:06:01 12:20:30", OffsetTimeOriginal="+03:00", **gps(46.5, 6.6), **UTC)
save("trap_time_with_zone", dict(lat=46.5, lon=6.6, time="2024-06-01T10:20:30Z"), DateTimeOriginal="2024:06:01 12:20:30", OffsetTimeOriginal="+02:00", **gps(46.5, 6.6))
save("trap_no_fix", dict(lat=None, lon=None), dji(GpsLatitude="0.000000", GpsLongtitude="0.000000", GimbalYawDegree="+5.0"), Make="DJI", **gps(0, 0))
save("trap_void_fix", dict(lat=None, lon=None), GPSStatus="V", **gps(46.5, 6.6))
save("trap_magnetic_direction", dict(lat=46.5, lon=6.6, yaw=None), GPSImgDirection=77.5, GPSImgDirectionRef="M", **gps(46.5, 6.6))
save("true_direction", dict(lat=46.5, lon=6.6, yaw=77.5), GPSImgDirection=77.5, GPSImgDirectionRef="T", **gps(46.5, 6.6))
save("south_and_east", dict(lat=-33.8568, lon=151.2153), **gps(-33.8568, 151.2153))
save("nothing", dict(lat=None, lon=None, time=None, yaw=None))
(HERE / "index.json").write_text("[\n" + ",\n".join(json.dumps(entry) for entry in index) + "\n]\n")
