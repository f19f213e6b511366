package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"aidanwoods.dev/go-paseto"
	"github.com/fernet/fernet-go"
	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/gorilla/securecookie"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// contents are the claims of every ticket. Each ticket has an ID and times of its own.
type contents struct {
	Brand     string `json:"brand"`
	Username  string `json:"username"`
	Email     string `json:"email"`
	UniqueID  string `json:"uniqueId"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
	Phone1    string `json:"phone1"`
	ID        string `json:"jti"`
	Issued    int64  `json:"iat"`
	Expires   int64  `json:"exp"`
}

var john = contents{
	Brand: brand, Username: "john.d", Email: "john.d@gmail.com", UniqueID: "123456", FirstName: "John", LastName: "Doe",
	Phone1: "+442501234567",
}

const minute = time.Minute

// newContents returns the contents of the next ticket.
func newContents() contents {
	c, now := john, time.Now()
	c.ID, c.Issued, c.Expires = rand.Text(), now.Unix(), now.Add(minute).Unix()
	return c
}

var errContents = errors.New("the ticket is expired, or another one")

// check refuses expired contents.
func (c *contents) check() error {
	if c.Username != john.Username || time.Now().Unix() >= c.Expires {
		return errContents
	}
	return nil
}

func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

// peers returns other kinds of tickets with one shared key, made by well-known Go packages.
func peers() ([]*maker, error) {
	jose, err := joseMakers(newKey())
	if err != nil {
		return nil, err
	}
	return append(append([]*maker{fernetMaker(), cookieMaker()}, jose...), append(jwxMakers(newKey()), pasetoMaker())...),
		nil
}

func fernetMaker() *maker {
	var key fernet.Key
	copy(key[:], newKey())
	keys := []*fernet.Key{&key}
	return &maker{
		name: "Fernet (fernet-go)", does: "decrypt, JSON", encrypted: true,
		issue: func() (string, error) {
			text, err := json.Marshal(newContents())
			if err != nil {
				return "", err
			}
			sealed, err := fernet.EncryptAndSign(text, &key)
			return string(sealed), err
		},
		check: func(s string) error {
			var c contents
			if err := json.Unmarshal(fernet.VerifyAndDecrypt([]byte(s), minute, keys), &c); err != nil {
				return err
			}
			return c.check()
		},
	}
}

func cookieMaker() *maker {
	codec := securecookie.New(newKey(), newKey()).MaxAge(int(minute.Seconds())).SetSerializer(securecookie.JSONEncoder{})
	return &maker{
		name: "gorilla/securecookie", does: "decrypt, JSON", encrypted: true,
		issue: func() (string, error) { return codec.Encode("ta", newContents()) },
		check: func(s string) error {
			var c contents
			if err := codec.Decode("ta", s, &c); err != nil {
				return err
			}
			return c.check()
		},
	}
}

// joseMakers are JWE and JWS by go-jose.
func joseMakers(key []byte) ([]*maker, error) {
	encrypter, err := jose.NewEncrypter(jose.A256GCM, jose.Recipient{Algorithm: jose.DIRECT, Key: key}, nil)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: key}, nil)
	if err != nil {
		return nil, err
	}
	check := func(t *josejwt.JSONWebToken, err error) error {
		if err != nil {
			return err
		}
		var c contents
		if err := t.Claims(key, &c); err != nil {
			return err
		}
		return c.check()
	}
	encryption, signature := []jose.ContentEncryption{jose.A256GCM}, []jose.SignatureAlgorithm{jose.HS256}
	direct := []jose.KeyAlgorithm{jose.DIRECT}
	return []*maker{
		{
			name: "JWE dir A256GCM (go-jose)", does: "decrypt, JSON", encrypted: true,
			issue: func() (string, error) { return josejwt.Encrypted(encrypter).Claims(newContents()).Serialize() },
			check: func(s string) error { return check(josejwt.ParseEncrypted(s, direct, encryption)) },
		},
		{
			name: "JWS HS256 (go-jose)", does: "verify, JSON",
			issue: func() (string, error) { return josejwt.Signed(signer).Claims(newContents()).Serialize() },
			check: func(s string) error { return check(josejwt.ParseSigned(s, signature)) },
		},
	}, nil
}

// jwxMakers are JWE and JWS by jwx.
func jwxMakers(key []byte) []*maker {
	direct, hs256 := jwe.WithKey(jwa.DIRECT(), key), jwt.WithKey(jwa.HS256(), key)
	a256gcm := jwe.WithContentEncryption(jwa.A256GCM())
	return []*maker{
		{
			name: "JWE dir A256GCM (jwx)", does: "decrypt, JSON", encrypted: true,
			issue: func() (string, error) {
				text, err := json.Marshal(newContents())
				if err != nil {
					return "", err
				}
				sealed, err := jwe.Encrypt(text, direct, a256gcm)
				return string(sealed), err
			},
			check: func(s string) error {
				text, err := jwe.Decrypt([]byte(s), direct)
				if err != nil {
					return err
				}
				var c contents
				if err := json.Unmarshal(text, &c); err != nil {
					return err
				}
				return c.check()
			},
		},
		{
			name: "JWS HS256 (jwx)", does: "verify, JSON",
			issue: func() (string, error) {
				c := newContents()
				t, err := jwt.NewBuilder().Claim("brand", c.Brand).Claim("username", c.Username).Claim("email", c.Email).
					Claim("uniqueId", c.UniqueID).Claim("firstName", c.FirstName).Claim("lastName", c.LastName).
					Claim("phone1", c.Phone1).JwtID(c.ID).IssuedAt(time.Unix(c.Issued, 0)).Expiration(time.Unix(c.Expires, 0)).Build()
				if err != nil {
					return "", err
				}
				signed, err := jwt.Sign(t, hs256)
				return string(signed), err
			},
			check: func(s string) error {
				t, err := jwt.Parse([]byte(s), hs256) // checks the times as well
				if err != nil {
					return err
				}
				var name string
				if err := t.Get("username", &name); err != nil || name != john.Username {
					return errors.Join(errContents, err)
				}
				return nil
			},
		},
	}
}

func pasetoMaker() *maker {
	key := paseto.NewV4SymmetricKey()
	parser := paseto.NewParser() // checks the times
	return &maker{
		name: "PASETO v4.local (go-paseto)", does: "decrypt, JSON", encrypted: true,
		issue: func() (string, error) {
			t := pasetoOfJohn()
			return t.V4Encrypt(key, nil), nil
		},
		check: func(s string) error {
			t, err := parser.ParseV4Local(key, s, nil)
			if err != nil {
				return err
			}
			return checkPaseto(t)
		},
	}
}

// pasetoOfJohn returns the next PASETO, to be encrypted or signed.
func pasetoOfJohn() paseto.Token {
	c := newContents()
	t := paseto.NewToken()
	t.SetString("brand", c.Brand)
	t.SetString("username", c.Username)
	t.SetString("email", c.Email)
	t.SetString("uniqueId", c.UniqueID)
	t.SetString("firstName", c.FirstName)
	t.SetString("lastName", c.LastName)
	t.SetString("phone1", c.Phone1)
	t.SetJti(c.ID)
	t.SetIssuedAt(time.Unix(c.Issued, 0))
	t.SetExpiration(time.Unix(c.Expires, 0))
	return t
}

// checkPaseto refuses another PASETO. The parser has checked the times.
func checkPaseto(t *paseto.Token) error {
	if name, err := t.GetString("username"); err != nil || name != john.Username {
		return errors.Join(errContents, err)
	}
	return nil
}
