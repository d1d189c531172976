package ec2sim

import (
	"maps"
	"strconv"
	"time"
)

// Statuses of volumes and interfaces. What is deleted goes at the next settle.
const (
	inUse     = "in-use"
	available = "available"
	deleted   = "deleted"
)

// Volume is one EBS volume.
type Volume struct {
	ID                  string
	Region              string
	Zone                string
	SizeGB              int
	State               string // in-use or available
	Instance            string // the instance it is attached to, or empty
	Device              string // where it is attached, such as /dev/xvda
	DeleteOnTermination bool
	Tags                map[string]string
	Created             time.Time
}

func (v *Volume) key() string { return v.ID }

type volumesAnswer struct {
	head
	Volumes set[volumeItem] `xml:"volumeSet"`
	Next    string          `xml:"nextToken,omitempty"`
}

// volumeItem is a volume in an answer:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Volume.html
type volumeItem struct {
	ID          string              `xml:"volumeId"`
	Size        int                 `xml:"size"`
	Zone        string              `xml:"availabilityZone"`
	Status      string              `xml:"status"`
	Created     string              `xml:"createTime"`
	Type        string              `xml:"volumeType"`
	Attachments set[attachmentItem] `xml:"attachmentSet"`
	Tags        set[tagItem]        `xml:"tagSet"`
}

type attachmentItem struct {
	Volume   string `xml:"volumeId"`
	Instance string `xml:"instanceId"`
	Device   string `xml:"device"`
	Status   string `xml:"status"`
	Attached string `xml:"attachTime"`
	Delete   bool   `xml:"deleteOnTermination"`
}

func (s *Sim) volumeLookup(r *region) describe[*Volume] {
	return describe[*Volume]{
		unfiltered: s.config.Quirks.IgnoresFilters,
		table:      &r.volumes, idParam: "VolumeId", prefix: "vol",
		notFound: "InvalidVolume.NotFound", malformed: "InvalidVolumeID.Malformed",
		tags: func(v *Volume) *map[string]string { return &v.Tags },
		known: fields[*Volume]{
			"volume-id":              func(v *Volume) string { return v.ID },
			"status":                 func(v *Volume) string { return v.State },
			"availability-zone":      func(v *Volume) string { return v.Zone },
			"attachment.instance-id": func(v *Volume) string { return v.Instance },
			"attachment.delete-on-termination": func(v *Volume) string {
				return strconv.FormatBool(v.DeleteOnTermination)
			},
		},
	}
}

func (s *Sim) describeVolumes(q *request) (body, error) {
	rows, next, err := s.volumeLookup(q.region).run(q)
	volumes := setOf(rows, func(v *Volume) volumeItem {
		x := volumeItem{
			ID: v.ID, Size: v.SizeGB, Zone: v.Zone, Status: v.State, Created: checkpoint(v.Created), Type: "gp3", Tags: tagSet(v.Tags),
		}
		if v.Instance != "" {
			x.Attachments.Items = []attachmentItem{
				{v.ID, v.Instance, v.Device, "attached", checkpoint(v.Created), v.DeleteOnTermination},
			}
		}
		return x
	})
	return &volumesAnswer{Volumes: volumes, Next: next}, err
}

// deleteVolume deletes a volume that is attached to nothing:
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DeleteVolume.html
func (s *Sim) deleteVolume(q *request) (body, error) {
	return s.volumeLookup(q.region).discard(q, func(v *Volume) error {
		if v.State == available {
			return nil
		}
		return refusal("VolumeInUse", "Volume %s is currently attached to %s", v.ID, v.Instance)
	})
}

func (v *Volume) clone() Volume {
	c := *v
	c.Tags = maps.Clone(v.Tags)
	return c
}
